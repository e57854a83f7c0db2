//! Typing codes: how many wrong ones stop whom. A search of the code space must fail, whether one person tries it, a
//! device passes from hand to hand, or the staff of a store try together. Scanning is never stopped.

use crate::reason::{Reason, Refusal};
use crate::state::text_enum;

/// The minutes over which wrong codes are counted, and after which they are forgotten.
pub const WINDOW_MINUTES: i64 = 10;
/// Wrong codes of one member of staff, in all their sessions.
pub const MAX_OF_STAFF: i64 = 10;
/// Wrong codes that one device of a store typed, as it claims to be.
pub const MAX_OF_DEVICE: i64 = 15;
/// Wrong codes of a store.
pub const MAX_OF_STORE: i64 = 30;

/// Wrong codes within the window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WrongCodes {
    /// By this member of staff, wherever.
    pub of_staff: i64,
    /// With this device, at this store.
    pub of_device: i64,
    /// At this store.
    pub of_store: i64,
}

text_enum! {
    /// Who is stopped.
    pub enum Stopped {
        /// A member of staff.
        Staff = "staff",
        /// A device.
        Device = "device",
        /// A store.
        Store = "store",
    }
}

impl WrongCodes {
    /// Who has typed too many.
    pub fn stops(self) -> Option<Stopped> {
        if self.of_staff >= MAX_OF_STAFF {
            Some(Stopped::Staff)
        } else if self.of_device >= MAX_OF_DEVICE {
            Some(Stopped::Device)
        } else if self.of_store >= MAX_OF_STORE {
            Some(Stopped::Store)
        } else {
            None
        }
    }
}

/// Refuses to look up another typed code after too many wrong ones.
pub fn check_typing(wrong: WrongCodes) -> Result<(), Refusal> {
    let who = match wrong.stops() {
        None => return Ok(()),
        Some(Stopped::Staff) => "您输错券码次数过多",
        Some(Stopped::Device) => "这台设备输错券码次数过多",
        Some(Stopped::Store) => "本店输错券码次数过多",
    };
    let text = format!("{who}，请 {WINDOW_MINUTES} 分钟后再输，或改用扫码");
    Err(Refusal::with_message(Reason::RateLimited, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_stopped() {
        let wrong = |of_staff, of_device, of_store| WrongCodes { of_staff, of_device, of_store };
        for (wrong, stopped) in [
            (wrong(0, 0, 0), None),
            (wrong(9, 14, 29), None),
            (wrong(10, 10, 10), Some("您")),
            (wrong(0, 15, 15), Some("这台设备")),
            (wrong(0, 0, 30), Some("本店")),
            (wrong(10, 15, 30), Some("您")),
        ] {
            let refusal = check_typing(wrong).err();
            assert_eq!(refusal.is_some(), stopped.is_some(), "{wrong:?}");
            if let (Some(refusal), Some(stopped)) = (refusal, stopped) {
                assert_eq!(refusal.reason, Reason::RateLimited);
                assert!(refusal.message.starts_with(stopped), "{}", refusal.message);
            }
        }
    }
}
