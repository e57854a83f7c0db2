//! Wrong bodies made from a right one and its schema: each differs from it in one place.

use serde_json::{Value, json};

/// A wrong body, and the field that the answer must name if it names one.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) what: String,
    pub(crate) body: String,
    /// Exactly this field, or when it ends with `…` this one or one within it.
    pub(crate) field: Option<String>,
}

/// Numbers that these fields may well hold.
const MAY_BE_NEGATIVE: [&str; 4] = ["delta", "sort", "lat", "lng"];
const MAY_BE_FRACTIONAL: [&str; 2] = ["lat", "lng"];

/// Characters that hide something, and characters that databases choke on.
const HIDDEN: [char; 7] = ['\u{0}', '\u{7}', '\u{1B}', '\u{85}', '\u{202E}', '\u{2066}', '\u{200B}'];

/// Replaced by text that `serde_json::Value` cannot hold.
const RAW: &str = "\"@raw@\"";

/// Makes them all.
pub(crate) fn wrong_bodies(document: &Value, schema: &Value, right: &Value) -> Vec<Wrong> {
    let mut maker = Maker { document, right, made: Vec::new() };
    maker.visit("", schema, right);
    maker.made
}

struct Maker<'a> {
    document: &'a Value,
    right: &'a Value,
    made: Vec<Wrong>,
}

impl Maker<'_> {
    fn visit(&mut self, pointer: &str, schema: &Value, value: &Value) {
        let schema = resolve(self.document, schema);
        if !pointer.is_empty() {
            self.other_types(pointer, value);
        }
        match value {
            Value::Object(members) => {
                self.members(pointer, schema, value);
                for (name, member) in members {
                    let of_member = schema["properties"].get(name).unwrap_or(&Value::Null);
                    self.visit(&format!("{pointer}/{name}"), of_member, member);
                }
            }
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.visit(&format!("{pointer}/{i}"), &schema["items"], item);
                }
            }
            Value::String(text) => self.texts(pointer, text),
            Value::Number(_) => self.numbers(pointer),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Unknown members, missing ones, and those the right body does not use.
    fn members(&mut self, pointer: &str, schema: &Value, value: &Value) {
        let Some(properties) = schema["properties"].as_object() else { return };
        let unknown = format!("{pointer}/zzz_unknown");
        self.add("unknown field", Some(dotted(&unknown)), &unknown, &json!(1));
        let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
        for name in required.iter().filter_map(|name| name.as_str()) {
            let member = format!("{pointer}/{name}");
            let mut body = self.right.clone();
            if let Some(object) = body.pointer_mut(pointer).and_then(Value::as_object_mut)
                && object.remove(name).is_some()
            {
                let body = body.to_string();
                self.made.push(Wrong { what: format!("no {member}"), body, field: Some(dotted(&member)) });
            }
            if !is_nullable(self.document, &properties[name]) {
                self.add("null", Some(within(&member)), &member, &Value::Null);
            }
        }
        for name in properties.keys().filter(|name| value.get(name).is_none()) {
            let member = format!("{pointer}/{name}");
            self.add("wrong type", Some(within(&member)), &member, &json!([{"zzz": [true]}]));
        }
    }

    fn other_types(&mut self, pointer: &str, value: &Value) {
        let others = [json!(true), json!(17), json!("zzz"), json!([[true]]), json!({"zzz": true})];
        for other in others.iter().filter(|o| kind(o) != kind(value)) {
            self.add("wrong type", Some(within(pointer)), pointer, other);
        }
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        self.raw("deep nesting", pointer, &deep);
    }

    fn numbers(&mut self, pointer: &str) {
        let name = pointer.rsplit('/').next().unwrap_or_default();
        for huge in ["1e400", "-1e400", "9223372036854775808", "-9223372036854775809", "1e30"] {
            self.raw("huge number", pointer, huge);
        }
        if !MAY_BE_NEGATIVE.contains(&name) {
            self.raw("negative number", pointer, "-1");
        }
        if !MAY_BE_FRACTIONAL.contains(&name) {
            self.raw("fraction", pointer, "1.5");
        }
        for no_number in ["NaN", "Infinity", "0x10", "01", "+1"] {
            self.raw("no JSON number", pointer, no_number);
        }
    }

    fn texts(&mut self, pointer: &str, text: &str) {
        let field = Some(within(pointer));
        for c in HIDDEN {
            self.add("hidden character", field.clone(), pointer, &json!(format!("{text}{c}{text}")));
        }
        self.raw("lone surrogate", pointer, r#""a\ud800b""#);
        self.raw("a real control character", pointer, "\"a\u{1}b\"");
        // 210,000 bytes: the body is still below its limit.
        self.add("very long", field.clone(), pointer, &json!("长".repeat(70_000)));
        if let Some((prefix, suffix)) = text.split_once('_').filter(|(p, s)| p.len() == 3 && s.len() == 26) {
            for other in ["msg", "pay"].iter().filter(|other| **other != prefix) {
                self.add("id of another kind", field.clone(), pointer, &json!(format!("{other}_{suffix}")));
            }
            let upper = format!("{prefix}_{}", suffix.to_uppercase());
            for bad in [format!("{prefix}_"), format!("{prefix}_z{}", &suffix[1..]), upper, suffix.to_owned()]
            {
                self.add("malformed id", field.clone(), pointer, &json!(bad));
            }
        }
    }

    fn add(&mut self, what: &str, field: Option<String>, pointer: &str, value: &Value) {
        let mut body = self.right.clone();
        set(&mut body, pointer, value.clone());
        let what = format!("{what} at {pointer}");
        self.made.push(Wrong { what, body: body.to_string(), field });
    }

    fn raw(&mut self, what: &str, pointer: &str, text: &str) {
        let mut body = self.right.clone();
        set(&mut body, pointer, json!("@raw@"));
        let short: String = text.chars().take(24).collect();
        let (what, body) = (format!("{what} {short} at {pointer}"), body.to_string().replace(RAW, text));
        self.made.push(Wrong { what, body, field: None });
    }
}

/// Each text of a body replaced by texts that are poison elsewhere; they may be refused or kept as they are.
pub(crate) fn hostile_texts(right: &Value) -> Vec<(String, Value)> {
    const HOSTILE: [&str; 7] = [
        "'; DROP TABLE orders; --",
        "\" OR \"\"=\"",
        "$1 ?1 :a %s {0} ${x}",
        "<script>alert(1)</script><img src=x onerror=a>",
        "../../../../etc/passwd",
        "\\",
        "👨‍👩‍👧é𠮷ﷺ",
    ];
    let mut made = Vec::new();
    for pointer in text_pointers("", right) {
        for text in HOSTILE {
            let mut body = right.clone();
            set(&mut body, &pointer, json!(text));
            made.push((format!("{text} at {pointer}"), body));
        }
    }
    made
}

fn text_pointers(pointer: &str, value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => {
            members.iter().flat_map(|(name, m)| text_pointers(&format!("{pointer}/{name}"), m)).collect()
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.flat_map(|(i, item)| text_pointers(&format!("{pointer}/{i}"), item)).collect()
        }
        Value::String(_) => vec![pointer.to_owned()],
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

fn set(body: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match body.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
        object => object[name] = value,
    }
}

/// Follows references, and takes the part of a choice that is not null.
pub(crate) fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return resolve(document, target.unwrap_or_else(|| panic!("{reference} leads nowhere")));
    }
    let choice = schema["oneOf"].as_array().into_iter().flatten().find(|s| s["type"] != "null");
    choice.map_or(schema, |choice| resolve(document, choice))
}

fn is_nullable(document: &Value, schema: &Value) -> bool {
    let kinds =
        |s: &Value| s["type"] == "null" || s["type"].as_array().is_some_and(|t| t.contains(&json!("null")));
    schema["oneOf"].as_array().into_iter().flatten().any(kinds) || kinds(resolve(document, schema))
}

fn kind(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

/// `/skus/0/name` as the API writes it: `skus[0].name`.
fn dotted(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        if part.bytes().all(|b| b.is_ascii_digit()) {
            path.push_str(&format!("[{part}]"));
        } else {
            path.push_str(if path.is_empty() { "" } else { "." });
            path.push_str(part);
        }
    }
    path
}

/// The outermost field: a list or an object may be refused as a whole.
fn within(pointer: &str) -> String {
    format!("{}…", pointer.split('/').nth(1).unwrap_or_default())
}
