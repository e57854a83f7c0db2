//! Risk flags 风险标记: written behind the redemptions, so that redeeming waits for nothing, and looked at by a person.
//!
//! A consumer of the outbox asks the rules in `hexiao_core::risk` about what was redeemed and undone. Codes typed
//! wrongly leave no row there: whoever is stopped for them is flagged with the attempt that was refused.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::Duration;
use hexiao_core::catalog::Capability;
use hexiao_core::id::{CustomerId, Id as _, MerchantId, RedemptionId, RiskFlagId, StaffId, StoreId};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::risk::{
    self as rules, NOTE_PLACE_S, RiskKind, RiskState, Seen, UNDO_HOURS, UNDOS_OF_STAFF, UNDOS_OF_VOUCHER,
};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_core::typing::{Stopped, WINDOW_MINUTES};
use hexiao_db::outbox::{self, Event};
use hexiao_db::redemptions::{self, Attempt, Method};
use hexiao_db::risk::{self, Flag, Place, Redeemed, Site, Undone};
use hexiao_db::{Tx, audit, store_facts, transact};
use serde_json::json;

use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::Result;
use crate::keys::new_id;
use crate::messages::Payload;

/// The name under which the risk flags keep their position in the outbox.
pub(crate) const CONSUMER: &str = "risk";
const BATCH: u32 = 1_000;

const REDEEMED: &str = "redemption.created";
const REVERSED: &str = "redemption.reversed";

/// How many flags of a kind are new.
type New = (RiskKind, u64);

/// Tells the metrics.
pub(crate) fn told(new: &[New]) {
    for (kind, count) in new.iter().filter(|(_, count)| *count > 0) {
        metrics::counter!("risk_flags_total", "kind" => kind.as_str()).increment(*count);
    }
}

impl App {
    /// Looks at what was redeemed and undone; how many outbox rows were read. Called by the worker until it answers 0.
    pub async fn watch_risks(&self) -> Result<usize> {
        if !outbox::any_new(self.db.reader(), CONSUMER).await? {
            return Ok(0);
        }
        let watched: Result<(usize, bool, Vec<New>)> = transact!(self.db, |tx| watch(self, &tx));
        let (read, any, new) = watched?;
        told(&new);
        if any {
            self.hold_at("risk.after_commit").await;
        }
        Ok(read)
    }

    /// Writes what was found about a flag. The same again, by the same person, changes nothing.
    pub async fn acknowledge_risk(&self, by: &StaffPrincipal, id: RiskFlagId, note: &str) -> Result<Flag> {
        by.require(Capability::ReviewRisks)?;
        let now = self.now();
        transact!(self.db, |tx| acknowledge(&tx, by, id, note, now))
    }
}

async fn acknowledge(
    tx: &Tx,
    by: &StaffPrincipal,
    id: RiskFlagId,
    note: &str,
    now: Timestamp,
) -> Result<Flag> {
    let missing = || Refusal::with_message(Reason::NotFound, "没有找到这条风险提示");
    let mut found = risk::lock(tx, &by.scope, id).await?.ok_or_else(missing)?;
    if found.state == RiskState::Acknowledged {
        let same = found.acknowledged_by == Some(by.staff_id) && found.note.as_deref() == Some(note);
        return if same {
            Ok(found)
        } else {
            let text = "这条风险提示已有人处理，请刷新后查看处理说明";
            Err(Refusal::with_message(Reason::IllegalState, text).into())
        };
    }
    found.state = RiskState::Acknowledged;
    found.note = Some(note.to_owned());
    (found.acknowledged_by, found.acknowledged_at) = (Some(by.staff_id), Some(now));
    risk::acknowledge(tx, &found).await?;
    let detail = json!({ "kind": found.kind, "note": note });
    let subject = id.to_string();
    audit::record(tx, by.merchant(), Some(by.staff_id), "risk_flag.acknowledge", &subject, &detail, now)
        .await?;
    Ok(found)
}

async fn watch(app: &App, tx: &Tx) -> Result<(usize, bool, Vec<New>)> {
    let events = outbox::take(tx, CONSUMER, BATCH).await?;
    let ours = |e: &&Event| e.topic == REDEEMED || e.topic == REVERSED;
    let merchants: BTreeSet<MerchantId> = events.iter().filter(ours).map(|e| e.merchant_id).collect();
    let mut flags = Vec::new();
    for merchant_id in &merchants {
        let merchant = MerchantScope::of_system(*merchant_id);
        let of = |topic: &str| -> Vec<&Event> {
            events.iter().filter(|e| e.merchant_id == *merchant_id && e.topic == topic).collect()
        };
        flags.extend(about_redeemed(tx, merchant, &of(REDEEMED)).await?);
        flags.extend(about_undone(tx, merchant, &of(REVERSED)).await?);
    }
    let mut new = Vec::new();
    for kind in RiskKind::ALL {
        let of_kind: Vec<&Flag> = flags.iter().filter(|f| f.kind == *kind).collect();
        new.push((*kind, risk::insert(tx, &of_kind).await?));
    }
    if !merchants.is_empty() {
        app.hold_at("risk.before_commit").await;
    }
    Ok((events.len(), !merchants.is_empty(), new))
}

fn subjects(events: &[&Event]) -> Vec<RedemptionId> {
    let ids: BTreeSet<_> = events.iter().map(|e| RedemptionId::from_uuid(e.subject_id)).collect();
    ids.into_iter().collect()
}

/// What all flags have in common.
fn flag(
    merchant: MerchantScope,
    kind: RiskKind,
    subject: String,
    at: (StoreId, StaffId, Timestamp),
    detail: serde_json::Value,
    message: String,
) -> Flag {
    let (store_id, staff_id, at) = at;
    Flag {
        merchant_id: merchant.merchant_id(),
        id: new_id(),
        kind,
        subject,
        store_id,
        staff_id,
        device: None,
        customer_id: None,
        voucher_id: None,
        redemption_id: None,
        detail,
        message,
        state: RiskState::Open,
        at,
        note: None,
        acknowledged_by: None,
        acknowledged_at: None,
    }
}

async fn about_redeemed(tx: &Tx, merchant: MerchantScope, events: &[&Event]) -> Result<Vec<Flag>> {
    let redeemed = risk::redeemed(tx, merchant, &subjects(events)).await?;
    if redeemed.is_empty() {
        return Ok(Vec::new());
    }
    let verifiers: BTreeSet<StaffId> = redeemed.iter().map(|r| r.staff_id).collect();
    let places = risk::places(tx, merchant, &Vec::from_iter(verifiers)).await?;
    let before = places.values().map(|p| p.store_id);
    let stores: BTreeSet<StoreId> = redeemed.iter().map(|r| r.store_id).chain(before).collect();
    let sites = risk::sites(tx, merchant, &Vec::from_iter(stores)).await?;
    let mut flags = own_vouchers(tx, merchant, events, &redeemed).await?;
    flags.extend(closed_stores(merchant, &redeemed, &sites));
    let (travels, seen) = travels(merchant, &redeemed, &sites, places);
    risk::note_places(tx, merchant, seen).await?;
    flags.extend(travels);
    Ok(flags)
}

/// Vouchers of customers who have the verifier's phone number.
async fn own_vouchers(
    tx: &Tx,
    merchant: MerchantScope,
    events: &[&Event],
    redeemed: &[Redeemed],
) -> Result<Vec<Flag>> {
    let by_id: HashMap<RedemptionId, &Redeemed> = redeemed.iter().map(|r| (r.id, r)).collect();
    let pair = |e: &&Event| {
        let redemption = by_id.get(&RedemptionId::from_uuid(e.subject_id))?;
        Some((redemption.id, (redemption.staff_id, Payload::read(e)?.customer_id)))
    };
    let all: BTreeSet<(RedemptionId, (StaffId, CustomerId))> = events.iter().filter_map(pair).collect();
    let pairs: BTreeSet<(StaffId, CustomerId)> = all.iter().map(|(_, pair)| *pair).collect();
    let same: HashSet<_> = HashSet::from_iter(risk::same_phone(tx, merchant, &Vec::from_iter(pairs)).await?);
    let flag = |(id, pair): &(RedemptionId, (StaffId, CustomerId))| {
        let r = by_id.get(id).filter(|_| same.contains(pair))?;
        let text = "核销了与本人手机号相同的顾客的券，请核实是否本人消费".to_owned();
        let at = (r.store_id, r.staff_id, r.occurred_at);
        let flag = flag(merchant, RiskKind::SelfRedemption, id.to_string(), at, json!({}), text);
        let (device, customer_id) = (r.device.clone(), Some(pair.1));
        Some(Flag { device, customer_id, redemption_id: Some(*id), ..flag })
    };
    Ok(all.iter().filter_map(flag).collect())
}

/// Redemptions while the store was closed: once a day for each verifier and store.
fn closed_stores(
    merchant: MerchantScope,
    redeemed: &[Redeemed],
    sites: &HashMap<StoreId, Site>,
) -> Vec<Flag> {
    let flag = |r: &Redeemed| {
        let site = sites.get(&r.store_id)?;
        if !rules::after_hours(&site.hours, site.day.zone, r.occurred_at) {
            return None;
        }
        let subject = format!("{}:{}:{}", r.staff_id, r.store_id, site.day.date(r.occurred_at));
        let text = format!(
            "在「{}」非营业时间（{}）核销，请核实",
            site.name,
            r.occurred_at.local_text(site.day.zone)
        );
        let at = (r.store_id, r.staff_id, r.occurred_at);
        let detail = json!({ "hours": site.hours.describe() });
        let flag = flag(merchant, RiskKind::AfterHours, subject, at, detail, text);
        Some(Flag { device: r.device.clone(), redemption_id: Some(r.id), ..flag })
    };
    redeemed.iter().filter_map(flag).collect()
}

/// Ways between stores that nobody can have gone, once a day for each verifier and pair of stores, and where verifiers
/// are now. What was recorded later says nothing of where somebody was.
fn travels(
    merchant: MerchantScope,
    redeemed: &[Redeemed],
    sites: &HashMap<StoreId, Site>,
    mut places: HashMap<StaffId, Place>,
) -> (Vec<Flag>, BTreeMap<StaffId, Place>) {
    let (mut flags, mut seen) = (Vec::new(), BTreeMap::new());
    for r in redeemed.iter().filter(|r| r.at_once) {
        let here = Place { store_id: r.store_id, at: r.occurred_at };
        let before = places.get(&r.staff_id).copied();
        let fresh = |p: Place| {
            let stays = p.store_id == here.store_id && here.at.since(p.at).num_seconds() < NOTE_PLACE_S;
            stays || here.at < p.at
        };
        if before.is_some_and(fresh) {
            continue;
        }
        places.insert(r.staff_id, here);
        seen.insert(r.staff_id, here);
        let Some(before) = before.filter(|p| p.store_id != here.store_id) else { continue };
        let (Some(from), Some(to)) = (sites.get(&before.store_id), sites.get(&here.store_id)) else {
            continue;
        };
        let (left, came) = (Seen { place: from.place, at: before.at }, Seen { place: to.place, at: here.at });
        let Some(travel) = rules::impossible_travel(left, came) else { continue };
        let (one, other) = (before.store_id.min(here.store_id), before.store_id.max(here.store_id));
        let subject = format!("{}:{one}:{other}:{}", r.staff_id, to.day.date(here.at));
        let text = format!(
            "{} 秒内先后在相距 {} 公里的「{}」和「{}」核销，账号可能被他人使用",
            travel.seconds,
            travel.metres / 1000,
            from.name,
            to.name
        );
        let detail = json!({
            "from_store_id": before.store_id, "from_at": before.at.to_string(),
            "metres": travel.metres, "seconds": travel.seconds,
        });
        let at = (here.store_id, r.staff_id, here.at);
        let flag = flag(merchant, RiskKind::ImpossibleTravel, subject, at, detail, text);
        flags.push(Flag { device: r.device.clone(), redemption_id: Some(r.id), ..flag });
    }
    (flags, seen)
}

/// Vouchers that were undone again and again, and staff who undo a lot: once a day for each.
async fn about_undone(tx: &Tx, merchant: MerchantScope, events: &[&Event]) -> Result<Vec<Flag>> {
    let news: HashSet<(RedemptionId, Timestamp)> =
        events.iter().map(|e| (RedemptionId::from_uuid(e.subject_id), e.at)).collect();
    let mut undone = risk::undone(tx, merchant, &subjects(events)).await?;
    undone.retain(|u| news.contains(&(u.redemption_id, u.at)));
    let Some(first) = undone.iter().map(|u| u.at).min() else { return Ok(Vec::new()) };
    let since = first.minus(Duration::hours(UNDO_HOURS));
    let vouchers: BTreeSet<_> = undone.iter().map(|u| u.voucher_id).collect();
    let staff: BTreeSet<_> = undone.iter().map(|u| u.by).collect();
    let stores: BTreeSet<_> = undone.iter().map(|u| u.store_id).collect();
    let sites = risk::sites(tx, merchant, &Vec::from_iter(stores)).await?;
    let of_vouchers = risk::undos_of_vouchers(tx, merchant, &Vec::from_iter(vouchers), since).await?;
    let of_staff = risk::undos_of_staff(tx, merchant, &Vec::from_iter(staff), since).await?;
    let loops = |u: &Undone| {
        let Some(site) = sites.get(&u.store_id) else { return Vec::new() };
        let count = |times: Option<&Vec<Timestamp>>, too_many| {
            rules::undo_loop(times.map_or(&[], Vec::as_slice), u.at, too_many)
        };
        let day = site.day.date(u.at);
        let flag = |of: &str, subject: String, undos: usize, text: String| {
            let detail = json!({ "of": of, "undos": undos });
            let at = (u.store_id, u.by, u.at);
            let flag = flag(merchant, RiskKind::UndoLoop, subject, at, detail, text);
            Flag { redemption_id: Some(u.redemption_id), ..flag }
        };
        let voucher = count(of_vouchers.get(&u.voucher_id), UNDOS_OF_VOUCHER).map(|n| {
            let text = format!("同一张券 {UNDO_HOURS} 小时内被撤销 {n} 次，请核实");
            let flag = flag("voucher", format!("{}:{day}", u.voucher_id), n, text);
            Flag { voucher_id: Some(u.voucher_id), ..flag }
        });
        let staff = count(of_staff.get(&u.by), UNDOS_OF_STAFF).map(|n| {
            let text = format!("同一人 {UNDO_HOURS} 小时内撤销核销 {n} 次，请核实");
            flag("staff", format!("{}:{day}", u.by), n, text)
        });
        voucher.into_iter().chain(staff).collect()
    };
    Ok(undone.iter().flat_map(loops).collect())
}

/// Flags whoever was stopped from typing codes, once a day for each person, device or store; how many are new. Called
/// in the transaction that writes the attempts.
pub(crate) async fn flag_lockouts(tx: &Tx, attempts: &[Attempt]) -> Result<u64> {
    let mut new = 0;
    let stopped = |a: &&Attempt| a.method == Method::Code && a.refusal.reason == Reason::RateLimited;
    for a in attempts.iter().filter(stopped) {
        let merchant = MerchantScope::of_system(a.merchant_id);
        let since = a.at.minus(Duration::minutes(WINDOW_MINUTES));
        let device = a.device.as_deref();
        let wrong =
            redemptions::wrong_codes_since(tx, merchant, a.staff_id, a.store_id, device, since).await?;
        let (Some(of), Some(store)) = (wrong.stops(), store_facts::get(tx, merchant, a.store_id).await?)
        else {
            continue;
        };
        let (who, text) = match of {
            Stopped::Staff => (a.staff_id.to_string(), "员工输错券码次数过多，已暂停输码"),
            Stopped::Device => {
                (format!("{}:{}", a.store_id, device.unwrap_or_default()), "设备输错券码次数过多，已暂停输码")
            }
            Stopped::Store => (a.store_id.to_string(), "门店输错券码次数过多，已暂停输码"),
        };
        let subject = format!("{of}:{who}:{}", store.business_day.date(a.at));
        let detail = json!({
            "of": of, "of_staff": wrong.of_staff, "of_device": wrong.of_device, "of_store": wrong.of_store,
        });
        let at = (a.store_id, a.staff_id, a.at);
        let text = format!("{text}，请核实是否有人试探券码");
        let flag = flag(merchant, RiskKind::Lockout, subject, at, detail, text);
        new += risk::insert(tx, &[&Flag { device: a.device.clone(), ..flag }]).await?;
    }
    Ok(new)
}
