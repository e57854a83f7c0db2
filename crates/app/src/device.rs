//! Devices of the staff: registering, renaming and revoking them.
//!
//! A session knows the device it is used on, and ends with it. Whoever is behind a session is read once a second, so a
//! device that was revoked on another process is refused within that second, and no redemption asks for it.

use hexiao_core::catalog::Capability;
use hexiao_core::device::{DevicePlatform, DeviceState, MAX_DEVICES};
use hexiao_core::id::{DeviceId, Id as _, SessionId};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::time::Timestamp;
use hexiao_db::devices::{self, Device};
use hexiao_db::{DbError, Tx, audit, sessions, staff, transact};
use serde_json::json;

use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::{AppError, Result};
use crate::keys::new_id;

/// What a device says of itself.
#[derive(Debug, Clone)]
pub struct NewDevice {
    /// What its user calls it.
    pub name: String,
    /// What it runs.
    pub platform: DevicePlatform,
    /// Its Ed25519 public key.
    pub public_key: [u8; 32],
}

impl App {
    /// Registers the device that the session is used on; one that is registered is found again by its key. The second
    /// part tells whether it is new.
    pub async fn register_device(&self, by: &StaffPrincipal, new: &NewDevice) -> Result<(Device, bool)> {
        by.require(Capability::Redeem)?;
        let now = self.now();
        let done: Result<(Device, bool)> = transact!(self.db, |tx| register(self, &tx, by, new, now));
        self.hold_at("device_register.after_commit").await;
        self.forget_sessions(&[by.session_id]);
        done
    }

    /// Gives a device of somebody in the scope another name.
    pub async fn rename_device(&self, by: &StaffPrincipal, id: DeviceId, name: &str) -> Result<Device> {
        by.require(Capability::ManageStaff)?;
        let now = self.now();
        transact!(self.db, |tx| rename(&tx, by, id, name, now))
    }

    /// Revokes a device of somebody in the scope, and ends its sessions. Again it changes nothing.
    pub async fn revoke_device(&self, by: &StaffPrincipal, id: DeviceId) -> Result<Device> {
        by.require(Capability::ManageStaff)?;
        let now = self.now();
        let done: Result<(Device, Vec<SessionId>)> =
            transact!(self.db, |tx| revoke_managed(self, &tx, by, id, now));
        self.hold_at("device_revoke.after_commit").await;
        let (device, ended) = done?;
        self.forget_sessions(&ended);
        Ok(device)
    }

    /// Gives up the device that the session is used on. This session stays; any other on the device ends.
    pub async fn give_up_device(&self, by: &StaffPrincipal) -> Result<()> {
        by.require(Capability::Redeem)?;
        let now = self.now();
        let done: Result<Vec<SessionId>> = transact!(self.db, |tx| give_up(&tx, by, now));
        self.forget_sessions(&[by.session_id]);
        self.forget_sessions(&done?);
        Ok(())
    }

    /// The device that a request is from: the one registered for its session, or what the request claims. The id of a
    /// registered device is no free text: only its own member may name it, and nobody once it is revoked.
    pub async fn device_of(&self, by: &StaffPrincipal, claim: Option<String>) -> Result<Option<String>> {
        let Some(claim) = claim else { return Ok(by.device.map(|id| id.to_string())) };
        let Ok(id) = DeviceId::parse(&claim) else { return Ok(Some(claim)) };
        if by.device != Some(id) {
            let found = devices::get(self.db.reader(), by.merchant(), id).await?;
            match found {
                Some(device) if device.state == DeviceState::Revoked => {
                    return Err(Reason::DeviceRevoked.into());
                }
                Some(device) if device.staff_id == by.staff_id => {}
                Some(_) | None => {
                    return Err(Refusal::field("device_id", "这不是您登记的设备，请重新登记").into());
                }
            }
        }
        Ok(Some(claim))
    }
}

async fn register(
    app: &App,
    tx: &Tx,
    by: &StaffPrincipal,
    new: &NewDevice,
    now: Timestamp,
) -> Result<(Device, bool)> {
    let merchant = by.merchant();
    // The member's row is locked: what they register at once adds up.
    staff::lock(tx, merchant, by.staff_id).await?.ok_or(Reason::Unauthenticated)?;
    let (device, is_new) = match devices::lock_by_key(tx, merchant, new.public_key).await? {
        Some(device) if device.staff_id != by.staff_id => return Err(taken().into()),
        Some(device) if device.state == DeviceState::Revoked => return Err(Reason::DeviceRevoked.into()),
        Some(device) => {
            devices::seen(tx, merchant, device.id, now).await?;
            (device, false)
        }
        None => {
            if devices::active_of(tx, merchant, by.staff_id).await? >= MAX_DEVICES {
                let text = format!("每人最多登记 {MAX_DEVICES} 台设备，请先停用不再使用的设备");
                return Err(Refusal::with_message(Reason::DeviceLimit, text).into());
            }
            let device = new_device(by, new, now);
            devices::insert(tx, &device).await.map_err(raced)?;
            let detail = json!({ "name": device.name, "platform": device.platform });
            let subject = device.id.to_string();
            audit::record(tx, merchant, Some(by.staff_id), "device.register", &subject, &detail, now).await?;
            (device, true)
        }
    };
    sessions::set_device(tx, merchant, by.session_id, by.staff_id, Some(device.id)).await?;
    app.hold_at("device_register.before_commit").await;
    Ok((device, is_new))
}

fn taken() -> Refusal {
    Refusal::with_message(Reason::Duplicate, "这台设备的密钥已登记在其他员工名下，请重新生成密钥后登记")
}

/// Another member registered the same key meanwhile.
fn raced(error: DbError) -> AppError {
    if error.is_unique_violation("public_key") { taken().into() } else { error.into() }
}

fn new_device(by: &StaffPrincipal, new: &NewDevice, now: Timestamp) -> Device {
    Device {
        merchant_id: by.merchant_id,
        id: new_id(),
        staff_id: by.staff_id,
        staff_name: by.name.to_string(),
        name: new.name.clone(),
        platform: new.platform,
        public_key: new.public_key,
        state: DeviceState::Active,
        created_at: now,
        seen_at: now,
        revoked_at: None,
        revoked_by: None,
    }
}

fn missing() -> Refusal {
    Refusal::with_message(Reason::NotFound, "没有找到这台设备")
}

async fn rename(tx: &Tx, by: &StaffPrincipal, id: DeviceId, name: &str, now: Timestamp) -> Result<Device> {
    let device = devices::lock_in(tx, &by.scope, id).await?.ok_or_else(missing)?;
    if device.name == name {
        return Ok(device);
    }
    devices::rename(tx, by.merchant(), id, name).await?;
    let detail = json!({ "name": [device.name, name] });
    audit::record(tx, by.merchant(), Some(by.staff_id), "device.rename", &id.to_string(), &detail, now)
        .await?;
    Ok(Device { name: name.to_owned(), ..device })
}

async fn revoke_managed(
    app: &App,
    tx: &Tx,
    by: &StaffPrincipal,
    id: DeviceId,
    now: Timestamp,
) -> Result<(Device, Vec<SessionId>)> {
    let device = devices::lock_in(tx, &by.scope, id).await?.ok_or_else(missing)?;
    let done = revoke(tx, by, device, now).await?;
    app.hold_at("device_revoke.before_commit").await;
    Ok(done)
}

async fn revoke(
    tx: &Tx,
    by: &StaffPrincipal,
    device: Device,
    now: Timestamp,
) -> Result<(Device, Vec<SessionId>)> {
    let merchant = by.merchant();
    if device.state == DeviceState::Revoked {
        return Ok((device, Vec::new()));
    }
    devices::revoke(tx, merchant, device.id, by.staff_id, now).await?;
    let ended = sessions::revoke_of_device(tx, merchant, device.id, now).await?;
    let detail = json!({ "name": device.name, "sessions": ended.len() });
    let subject = device.id.to_string();
    audit::record(tx, merchant, Some(by.staff_id), "device.revoke", &subject, &detail, now).await?;
    let revoked = Device {
        state: DeviceState::Revoked,
        revoked_at: Some(now),
        revoked_by: Some(by.staff_id),
        ..device
    };
    Ok((revoked, ended))
}

async fn give_up(tx: &Tx, by: &StaffPrincipal, now: Timestamp) -> Result<Vec<SessionId>> {
    let none = || Refusal::with_message(Reason::IllegalState, "本次登录没有登记设备");
    let id = by.device.ok_or_else(none)?;
    let device = devices::lock_own(tx, by.merchant(), by.staff_id, id).await?.ok_or_else(none)?;
    if device.state == DeviceState::Revoked {
        return Err(Reason::DeviceRevoked.into());
    }
    sessions::set_device(tx, by.merchant(), by.session_id, by.staff_id, None).await?;
    Ok(revoke(tx, by, device, now).await?.1)
}
