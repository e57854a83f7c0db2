//! Reading answers: strict about what is read, indifferent to everything else.

use anyhow::{anyhow, bail};
use serde_json::Value;

/// So much of an answer is shown in an error.
const SHOWN_CHARS: usize = 300;

/// A text that is not empty, by JSON pointer.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> anyhow::Result<&'a str> {
    let found = value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    found.ok_or_else(|| missing(value, pointer, "非空字符串"))
}

/// An integer.
pub(super) fn int(value: &Value, pointer: &str) -> anyhow::Result<i64> {
    value.pointer(pointer).and_then(Value::as_i64).ok_or_else(|| missing(value, pointer, "整数"))
}

/// A list.
pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> anyhow::Result<&'a [Value]> {
    let found = value.pointer(pointer).and_then(Value::as_array);
    found.map(Vec::as_slice).ok_or_else(|| missing(value, pointer, "数组"))
}

/// The one element of a list.
pub(super) fn only<'a>(value: &'a Value, pointer: &str) -> anyhow::Result<&'a Value> {
    match list(value, pointer)? {
        [one] => Ok(one),
        more => bail!("{pointer} 应恰有 1 项，实际 {} 项：{}", more.len(), short(value)),
    }
}

/// The element with an id.
pub(super) fn by_id<'a>(value: &'a Value, pointer: &str, field: &str, id: &str) -> anyhow::Result<&'a Value> {
    let found = list(value, pointer)?.iter().find(|item| item.get(field).and_then(Value::as_str) == Some(id));
    found.ok_or_else(|| anyhow!("{pointer} 中应有 {field} = {id}，实际：{}", short(value)))
}

/// The texts of a list; a list that is missing or null is empty.
pub(super) fn texts(value: &Value, pointer: &str) -> Vec<String> {
    let items = value.pointer(pointer).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Refuses a value that is not the expected one.
pub(super) fn expect<T: PartialEq + Copy + std::fmt::Display>(
    what: &str,
    expected: T,
    got: T,
) -> anyhow::Result<()> {
    if expected != got {
        bail!("{what}：应为 {expected}，实际 {got}");
    }
    Ok(())
}

/// The value as JSON, cut.
pub(super) fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn missing(value: &Value, pointer: &str, kind: &str) -> anyhow::Error {
    anyhow!("应答的 {pointer} 应为{kind}，实际应答：{}", short(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_name_what_is_missing() {
        let value = json!({"id": "ord_1", "empty": "", "pay_fen": 5.5, "lines": [{"id": "a"}, {"id": "b"}]});
        assert_eq!(text(&value, "/id").unwrap(), "ord_1");
        assert!(text(&value, "/empty").unwrap_err().to_string().contains("/empty"));
        assert!(int(&value, "/pay_fen").is_err() && int(&value, "/none").is_err());
        assert!(only(&value, "/lines").unwrap_err().to_string().contains("2 项"));
        assert_eq!(by_id(&value, "/lines", "id", "b").unwrap(), &json!({"id": "b"}));
        assert!(by_id(&value, "/lines", "id", "c").is_err());
        assert_eq!(texts(&json!({"x": ["a", 1, "b"]}), "/x"), ["a", "b"]);
        assert!(texts(&json!({"x": null}), "/x").is_empty());
        let error = expect("状态", "Paid", "Closed").unwrap_err().to_string();
        assert_eq!(error, "状态：应为 Paid，实际 Closed");
    }

    #[test]
    fn long_answers_are_cut_between_characters() {
        let cut = short(&json!("券".repeat(1_000)));
        assert_eq!(cut.chars().count(), SHOWN_CHARS + 1);
    }
}
