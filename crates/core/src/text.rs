//! Text that people enter: what may be stored, and phone numbers.
//!
//! Promise: accepted text shows what it holds. Control characters, direction overrides and invisible characters are
//! refused, not stripped: they hide content from a reviewer ("spoofed" names, reversed amounts), and silently
//! changing what a person wrote is worse than saying what is wrong. `Display` of the errors is for that person.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text was refused. Positions count characters of the trimmed text from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing but white space where something is required.
    #[error("不能为空")]
    Empty,
    /// Fewer characters than required.
    #[error("至少 {min} 个字，现在是 {actual} 个")]
    TooShort {
        /// Characters required.
        min: usize,
        /// Characters found.
        actual: usize,
    },
    /// More characters than allowed.
    #[error("最多 {max} 个字，现在是 {actual} 个")]
    TooLong {
        /// Characters allowed.
        max: usize,
        /// Characters found.
        actual: usize,
    },
    /// A control character, such as a line break in a one-line text.
    #[error("第 {at} 个字是控制字符或换行，请删除")]
    Control {
        /// Its position.
        at: usize,
    },
    /// A character that changes the direction of the text after it.
    #[error("第 {at} 个字是改变文字方向的隐藏字符，请删除")]
    Bidi {
        /// Its position.
        at: usize,
    },
    /// A character that cannot be seen.
    #[error("第 {at} 个字是不可见的字符，请删除")]
    Invisible {
        /// Its position.
        at: usize,
    },
}

/// Checks a one-line text and trims it. `min` and `max` count characters (not bytes) after trimming.
pub fn clean_text(input: &str, min: usize, max: usize) -> Result<String, TextError> {
    clean(input.trim(), min, max, false)
}

/// As [`clean_text`], for descriptions and reviews: line breaks are allowed (`\r\n` becomes `\n`).
pub fn clean_multiline(input: &str, min: usize, max: usize) -> Result<String, TextError> {
    clean(&input.trim().replace("\r\n", "\n"), min, max, true)
}

fn clean(text: &str, min: usize, max: usize, multiline: bool) -> Result<String, TextError> {
    let actual = text.chars().count();
    if actual > max {
        return Err(TextError::TooLong { max, actual });
    }
    if actual == 0 && min > 0 {
        return Err(TextError::Empty);
    }
    if actual < min {
        return Err(TextError::TooShort { min, actual });
    }
    let mut previous = None;
    let mut chars = text.chars().peekable();
    let mut at = 0;
    while let Some(c) = chars.next() {
        at += 1;
        check_char(c, previous, chars.peek().copied(), at, multiline)?;
        previous = Some(c);
    }
    Ok(text.to_owned())
}

fn check_char(
    c: char,
    previous: Option<char>,
    next: Option<char>,
    at: usize,
    multiline: bool,
) -> Result<(), TextError> {
    match c {
        '\n' if multiline => Ok(()),
        // U+2028 and U+2029 break lines without being "control" in Unicode's sense.
        _ if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => Err(TextError::Control { at }),
        '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{206F}' => {
            Err(TextError::Bidi { at })
        }
        // The joiner of 👨‍👩‍👧 is a part of that emoji; between anything else it is a hiding place.
        '\u{200D}' if previous.is_some_and(is_emoji_part) && next.is_some_and(is_emoji_part) => Ok(()),
        // Text or emoji style: belongs to the visible character before it.
        '\u{FE0E}' | '\u{FE0F}' if previous.is_some_and(takes_variation) => Ok(()),
        _ if is_invisible(c) => Err(TextError::Invisible { at }),
        _ => Ok(()),
    }
}

/// Characters without a picture of their own: zero-width, fillers, tags, variation selectors.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200D}' | '\u{2060}'..='\u{2065}' | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}'
        | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

/// An emoji, or the style selector that follows one.
fn is_emoji_part(c: char) -> bool {
    c == '\u{FE0F}'
        || matches!(c, '\u{1F000}'..='\u{1FAFF}' | '\u{2190}'..='\u{21FF}' | '\u{2300}'..='\u{23FF}'
            | '\u{25A0}'..='\u{27BF}' | '\u{2B00}'..='\u{2BFF}')
}

/// Emoji, the digits of keycaps (1️⃣), and the few signs that have an emoji style.
fn takes_variation(c: char) -> bool {
    c != '\u{FE0F}' && is_emoji_part(c)
        || matches!(c, '0'..='9' | '#' | '*' | '©' | '®' | '‼' | '⁉' | '™' | 'ℹ' | '〰' | '〽' | '㊗' | '㊙')
}

/// The value of a digit, ASCII or full-width (Chinese input methods make the latter by accident).
pub(crate) fn digit_value(c: char) -> Option<u8> {
    let base = match c {
        '0'..='9' => '0',
        '０'..='９' => '０',
        _ => return None,
    };
    u8::try_from(u32::from(c) - u32::from(base)).ok()
}

/// Why a phone number was refused. `Display` is the text for the person who typed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    /// Not a mobile number of mainland China.
    #[error("请填写 11 位手机号")]
    Mobile,
    /// Not four digits.
    #[error("请填写手机号后四位")]
    Last4,
    /// Neither a mobile number nor a landline with its area code nor a 400/800/95/96 number.
    #[error("请填写手机号、带区号的座机或 400 电话")]
    Store,
}

/// Typed phone numbers longer than this are refused unread.
const MAX_PHONE_CHARS: usize = 40;

/// A mobile number of mainland China: 11 digits, `1[3-9]…`. `Debug` is masked; there is no `Display`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MobilePhone(String);

impl MobilePhone {
    /// Reads a number as people type it: `+86`, spaces, hyphens and full-width digits are allowed.
    pub fn parse(input: &str) -> Result<Self, PhoneError> {
        let (digits, extension) = phone_digits(input).ok_or(PhoneError::Mobile)?;
        let digits = digits.concat();
        let digits = digits.strip_prefix("86").filter(|rest| rest.len() == 11).unwrap_or(&digits);
        if extension.is_none() && is_mobile(digits) {
            Ok(Self(digits.to_owned()))
        } else {
            Err(PhoneError::Mobile)
        }
    }

    /// The 11 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `138****1234`
    #[must_use]
    pub fn masked(&self) -> String {
        mask_phone(&self.0)
    }

    /// What a phone lookup at the counter asks for.
    #[must_use]
    pub fn last4(&self) -> PhoneLast4 {
        PhoneLast4(self.0[7..].to_owned())
    }
}

/// The last four digits of a mobile number, as a customer says them at the counter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PhoneLast4(String);

impl PhoneLast4 {
    /// Reads exactly four digits, as people type them: full-width ones are allowed.
    pub fn parse(input: &str) -> Result<Self, PhoneError> {
        let trimmed = input.trim();
        let four = trimmed.chars().count() == 4;
        let digit = |c: char| digit_value(c).map(|value| char::from(b'0' + value));
        let digits = four.then(|| trimmed.chars().map(digit).collect::<Option<String>>()).flatten();
        digits.map(Self).ok_or(PhoneError::Last4)
    }

    /// The four digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MobilePhone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MobilePhone({})", self.masked())
    }
}

/// A number that a store publishes: mobile, landline with area code, or a 400/800/95/96 service number.
///
/// Held in one canonical form: `13812341234`, `010-12345678`, `0755-26631234-801`, `400-123-4567`, `95588`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorePhone(String);

impl StorePhone {
    /// Reads a number as people type it: spaces, hyphens, brackets, `+86`, full-width digits; an extension after
    /// `转`, `#`, `x` or a hyphen.
    pub fn parse(input: &str) -> Result<Self, PhoneError> {
        let (groups, extension) = phone_digits(input).ok_or(PhoneError::Store)?;
        if let Some(extension) = extension {
            return Self::with_extension(&groups, &extension).ok_or(PhoneError::Store);
        }
        // "0755-26631234-801": the last group is an extension if what stands before it is a whole number.
        if groups.len() > 2
            && let Some((last, before)) = groups.split_last()
            && let Some(phone) = Self::with_extension(before, last)
        {
            return Ok(phone);
        }
        Self::canonical(&groups.concat()).map(Self).ok_or(PhoneError::Store)
    }

    /// The canonical form, ready to dial or show.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn with_extension(groups: &[String], extension: &str) -> Option<Self> {
        let number = Self::canonical(&groups.concat())?;
        // Mobiles and 95xxx numbers have no extensions; the hyphen form would hide a typing error.
        let ok = number.contains('-') && (1..=6).contains(&extension.len());
        ok.then(|| Self(format!("{number}-{extension}")))
    }

    fn canonical(digits: &str) -> Option<String> {
        let digits = match digits.strip_prefix("86") {
            Some(rest) if is_mobile(rest) => rest,
            // "+86 10 1234 5678": abroad, the area code loses its 0.
            Some(rest) if rest.len() >= 9 => return landline(&format!("0{}", rest.trim_start_matches('0'))),
            _ => digits,
        };
        let service = |prefix: &str, lengths: std::ops::RangeInclusive<usize>| {
            digits.starts_with(prefix) && lengths.contains(&digits.len())
        };
        if is_mobile(digits) || service("95", 5..=8) || service("96", 5..=8) {
            Some(digits.to_owned())
        } else if service("400", 10..=10) || service("800", 10..=10) {
            Some(format!("{}-{}-{}", &digits[..3], &digits[3..6], &digits[6..]))
        } else {
            landline(digits)
        }
    }
}

impl TryFrom<String> for StorePhone {
    type Error = PhoneError;

    fn try_from(input: String) -> Result<Self, PhoneError> {
        Self::parse(&input)
    }
}

impl From<StorePhone> for String {
    fn from(phone: StorePhone) -> Self {
        phone.0
    }
}

impl fmt::Display for StorePhone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_mobile(digits: &str) -> bool {
    matches!(digits.as_bytes(), [b'1', b'3'..=b'9', rest @ ..] if rest.len() == 9)
}

/// Area codes are 010, 02x (three digits, then eight) or 0[3-9]xx (four, then seven or eight). Subscriber numbers
/// begin with 2–8.
fn landline(digits: &str) -> Option<String> {
    let (area_len, lengths) = match digits.as_bytes() {
        [b'0', b'1', b'0', ..] | [b'0', b'2', ..] => (3, 8..=8),
        [b'0', b'3'..=b'9', ..] => (4, 7..=8),
        _ => return None,
    };
    let (area, number) = digits.split_at_checked(area_len)?;
    let ok = lengths.contains(&number.len()) && matches!(number.as_bytes(), [b'2'..=b'8', ..]);
    ok.then(|| format!("{area}-{number}"))
}

/// The digits in groups as separated by the writer, and the extension if one is marked as such.
/// `None` if there is any other character.
fn phone_digits(input: &str) -> Option<(Vec<String>, Option<String>)> {
    let input = input.trim();
    if input.chars().count() > MAX_PHONE_CHARS {
        return None;
    }
    let input = input.strip_prefix(['+', '＋']).unwrap_or(input);
    let (main, extension) = match input.split_once(['转', '轉', '#', '＃', 'x', 'X']) {
        Some((main, extension)) => (main, Some(extension)),
        None => (input, None),
    };
    let separators = ['-', '－', '–', '—', ' ', '\u{3000}', '(', ')', '（', '）'];
    let groups = main
        .split(separators)
        .filter(|group| !group.is_empty())
        .map(ascii_digits)
        .collect::<Option<Vec<_>>>()?;
    let extension = match extension {
        Some(extension) => Some(ascii_digits(extension.trim())?),
        None => None,
    };
    Some((groups, extension))
}

fn ascii_digits(group: &str) -> Option<String> {
    group.chars().map(|c| digit_value(c).map(|value| char::from(b'0' + value))).collect()
}

/// Masks what somebody calls themselves: the first character, and that there is more.
#[must_use]
pub fn mask_name(name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().map(String::from).unwrap_or_default();
    if chars.next().is_none() && first.is_empty() { first } else { first + "**" }
}

/// Masks a stored phone number: `138****1234`. Any other length keeps at most its last 4 characters.
#[must_use]
pub fn mask_phone(phone: &str) -> String {
    let chars: Vec<char> = phone.chars().collect();
    let head = if chars.len() >= 11 { 3 } else { 0 };
    let tail = if chars.len() >= 8 { 4 } else { 0 };
    let mut masked = String::from_iter(&chars[..head]);
    masked.push_str("****");
    masked.extend(&chars[chars.len() - tail..]);
    masked
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_text_is_trimmed_and_kept() {
        for (input, expected) in [
            ("  老王火锅（望京店） ", "老王火锅（望京店）"),
            ("\u{3000}Café Zoë", "Café Zoë"),
            ("👨‍👩‍👧 亲子", "👨‍👩‍👧 亲子"),
            ("👩🏽‍🍳👍🏿", "👩🏽‍🍳👍🏿"),
            ("❤️‍🔥 1️⃣ ©️ 🏳️‍🌈", "❤️‍🔥 1️⃣ ©️ 🏳️‍🌈"),
            ("🇨🇳", "🇨🇳"),
            ("<b>&amp;' OR 1=1--", "<b>&amp;' OR 1=1--"),
        ] {
            assert_eq!(clean_text(input, 1, 50).unwrap(), expected);
        }
        assert_eq!(clean_text("  ", 0, 5).unwrap(), "");
    }

    #[test]
    fn length_counts_characters() {
        assert_eq!(clean_text("火锅店", 1, 3).unwrap(), "火锅店");
        assert_eq!(clean_text("火锅店铺", 1, 3), Err(TextError::TooLong { max: 3, actual: 4 }));
        assert_eq!(clean_text("火", 2, 3), Err(TextError::TooShort { min: 2, actual: 1 }));
        assert_eq!(clean_text(" \n ", 1, 3), Err(TextError::Empty));
    }

    #[test]
    fn hidden_characters_are_refused_with_their_place() {
        let at = 2;
        for (c, error) in [
            ('\0', TextError::Control { at }),
            ('\n', TextError::Control { at }),
            ('\t', TextError::Control { at }),
            ('\u{7F}', TextError::Control { at }),
            ('\u{85}', TextError::Control { at }),
            ('\u{2028}', TextError::Control { at }),
            ('\u{202E}', TextError::Bidi { at }),
            ('\u{2066}', TextError::Bidi { at }),
            ('\u{200F}', TextError::Bidi { at }),
            ('\u{200B}', TextError::Invisible { at }),
            ('\u{200C}', TextError::Invisible { at }),
            ('\u{200D}', TextError::Invisible { at }),
            ('\u{FEFF}', TextError::Invisible { at }),
            ('\u{00AD}', TextError::Invisible { at }),
            ('\u{3164}', TextError::Invisible { at }),
            ('\u{FE0F}', TextError::Invisible { at }),
            ('\u{E0041}', TextError::Invisible { at }),
        ] {
            assert_eq!(clean_text(&format!("店{c}名"), 1, 50), Err(error), "{:?}", c.escape_unicode());
        }
        assert_eq!(clean_text("👨\u{200D}", 1, 50), Err(TextError::Invisible { at }), "joins nothing");
        assert_eq!(clean_text("❤️\u{FE0F}", 1, 50), Err(TextError::Invisible { at: 3 }), "a second selector");
    }

    #[test]
    fn multiline_allows_line_breaks_only() {
        assert_eq!(clean_multiline(" 一\r\n二\n三 ", 1, 50).unwrap(), "一\n二\n三");
        assert_eq!(clean_multiline("一\r二", 1, 50), Err(TextError::Control { at: 2 }));
        assert_eq!(clean_multiline("一\t二", 1, 50), Err(TextError::Control { at: 2 }));
    }

    #[test]
    fn mobile_numbers() {
        for typed in
            ["13812341234", " 138 1234 1234", "+86 138-1234-1234", "86 13812341234", "１３８１２３４１２３４"]
        {
            let phone = MobilePhone::parse(typed).unwrap();
            assert_eq!((phone.as_str(), phone.last4().as_str()), ("13812341234", "1234"), "{typed}");
            assert_eq!(format!("{phone:?}"), "MobilePhone(138****1234)");
        }
        for wrong in
            ["", "12812341234", "1381234123", "138123412345", "138a2341234", "010-12345678", "13812341234#1"]
        {
            assert_eq!(MobilePhone::parse(wrong), Err(PhoneError::Mobile), "{wrong}");
        }
    }

    #[test]
    fn store_numbers_take_one_form() {
        for (typed, canonical) in [
            ("13812341234", "13812341234"),
            ("+86 13812341234", "13812341234"),
            ("010-62345678", "010-62345678"),
            ("01062345678", "010-62345678"),
            ("(010) 6234 5678", "010-62345678"),
            ("+86 10 6234 5678", "010-62345678"),
            ("+86 755 2663 1234", "0755-26631234"),
            ("+86 (0)10 62345678", "010-62345678"),
            ("0755-2663-1234", "0755-26631234"),
            ("0755-26631234-801", "0755-26631234-801"),
            ("0755-26631234转801", "0755-26631234-801"),
            ("0371－6543210", "0371-6543210"),
            ("400-123-4567", "400-123-4567"),
            ("4001234567", "400-123-4567"),
            ("400 1234 567 转 8", "400-123-4567-8"),
            ("95588", "95588"),
        ] {
            let phone = StorePhone::parse(typed).unwrap_or_else(|_| panic!("{typed}"));
            assert_eq!(phone.as_str(), canonical, "{typed}");
            assert_eq!(StorePhone::parse(canonical).as_ref(), Ok(&phone), "canonical form reads back");
        }
        for wrong in
            ["", "62345678", "010-1234567", "010-12345678", "12345", "110", "400-123-456", "电话", "95588转1"]
        {
            assert_eq!(StorePhone::parse(wrong), Err(PhoneError::Store), "{wrong}");
        }
    }

    #[test]
    fn four_digits_are_four_digits() {
        for typed in ["1234", " 1234 ", "１２３４"] {
            assert_eq!(PhoneLast4::parse(typed).unwrap().as_str(), "1234", "{typed}");
        }
        for wrong in ["", "123", "12345", "12a4", "12 34", "一二三四", "138****1234"] {
            assert_eq!(PhoneLast4::parse(wrong), Err(PhoneError::Last4), "{wrong}");
        }
    }

    #[test]
    fn store_phone_in_json() {
        assert_eq!(serde_json::from_str::<StorePhone>("\"01062345678\"").unwrap().as_str(), "010-62345678");
        assert!(serde_json::from_str::<StorePhone>("\"1\"").unwrap_err().to_string().contains("400"));
    }

    #[test]
    fn masks() {
        assert_eq!(mask_phone("13812341234"), "138****1234");
        assert_eq!(mask_phone("010-62345678"), "010****5678");
        assert_eq!(mask_phone("12345678"), "****5678");
        assert_eq!(mask_phone("95588"), "****");
        assert_eq!(mask_phone(""), "****");
    }

    proptest! {
        #[test]
        fn cleaning_again_changes_nothing(input in any::<String>()) {
            if let Ok(text) = clean_text(&input, 0, 100) {
                prop_assert_eq!(clean_text(&text, 0, 100), Ok(text.clone()));
                prop_assert!(!text.chars().any(char::is_control));
            }
            if let Ok(text) = clean_multiline(&input, 0, 100) {
                prop_assert_eq!(clean_multiline(&text, 0, 100), Ok(text));
            }
        }

        #[test]
        fn store_phone_is_canonical(input in "[0-9 ()+转#x-]{0,24}") {
            if let Ok(phone) = StorePhone::parse(&input) {
                prop_assert_eq!(StorePhone::parse(phone.as_str()), Ok(phone));
            }
        }
    }
}
