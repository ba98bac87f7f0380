//! Responses: one value, written as XML or as JSON.
//!
//! An [`Element`] has ordered fields. In JSON each is a field of an object. In XML scalars are attributes, and elements
//! are child elements. Both formats therefore always have the same content. Names of fields are constants; all other
//! text is escaped in one place per format.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::failure::Failure;

/// The version of Subsonic's protocol.
const VERSION: &str = "1.16.1";
/// The field that is the text content of an element in XML.
const TEXT: &str = "value";

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
enum Item {
    Text(String),
    Number(u64),
    Flag(bool),
    One(Element),
    Many(Vec<Element>),
    Numbers(Vec<u64>),
}

/// An object with named fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Element(Vec<(&'static str, Item)>);

impl Element {
    pub(super) fn new() -> Self {
        Self::default()
    }

    fn with(mut self, name: &'static str, item: Item) -> Self {
        self.0.push((name, item));
        self
    }

    pub(super) fn text(self, name: &'static str, text: impl Into<String>) -> Self {
        self.with(name, Item::Text(text.into()))
    }

    /// A text, if there is one.
    pub(super) fn maybe(self, name: &'static str, text: Option<impl Into<String>>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    pub(super) fn number(self, name: &'static str, number: u64) -> Self {
        self.with(name, Item::Number(number))
    }

    /// A number, if there is one.
    pub(super) fn maybe_number(self, name: &'static str, number: Option<u64>) -> Self {
        match number {
            Some(number) => self.number(name, number),
            None => self,
        }
    }

    pub(super) fn flag(self, name: &'static str, flag: bool) -> Self {
        self.with(name, Item::Flag(flag))
    }

    pub(super) fn one(self, name: &'static str, element: Element) -> Self {
        self.with(name, Item::One(element))
    }

    /// A list. In JSON, an empty list is present.
    pub(super) fn many(self, name: &'static str, elements: Vec<Element>) -> Self {
        self.with(name, Item::Many(elements))
    }

    pub(super) fn numbers(self, name: &'static str, numbers: Vec<u64>) -> Self {
        self.with(name, Item::Numbers(numbers))
    }

    /// The fields of both elements.
    pub(super) fn and(mut self, other: Element) -> Self {
        self.0.extend(other.0);
        self
    }
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::One(element) => element.serialize(serializer),
            Self::Many(elements) => elements.serialize(serializer),
            Self::Numbers(numbers) => numbers.serialize(serializer),
        }
    }
}

impl Serialize for Element {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, item) in &self.0 {
            map.serialize_entry(name, item)?;
        }
        map.end()
    }
}

/// Escapes text for XML. Characters that XML 1.0 does not allow are removed.
fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // In an attribute, parsers convert them to spaces.
            '\t' | '\n' | '\r' => out.push_str(&format!("&#{};", u32::from(letter))),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            letter => out.push(letter),
        }
    }
}

fn write(name: &str, element: &Element, out: &mut String) {
    out.push('<');
    out.push_str(name);
    let mut inner = String::new();
    for (field, item) in &element.0 {
        let plain = match item {
            Item::Text(text) if *field == TEXT => {
                escape(text, &mut inner);
                continue;
            }
            Item::Text(text) => text.clone(),
            Item::Number(number) => number.to_string(),
            Item::Flag(flag) => flag.to_string(),
            Item::One(element) => {
                write(field, element, &mut inner);
                continue;
            }
            Item::Many(elements) => {
                elements.iter().for_each(|element| write(field, element, &mut inner));
                continue;
            }
            Item::Numbers(numbers) => {
                numbers.iter().for_each(|number| inner.push_str(&format!("<{field}>{number}</{field}>")));
                continue;
            }
        };
        out.push_str(&format!(" {field}=\""));
        escape(&plain, out);
        out.push('"');
    }
    if inner.is_empty() {
        out.push_str("/>");
    } else {
        out.push('>');
        out.push_str(&inner);
        out.push_str(&format!("</{name}>"));
    }
}

/// The format of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Xml,
    Json,
}

impl Form {
    /// The response. Its status is always 200; errors are part of the body.
    pub(super) fn answer(self, result: Result<Element, Failure>) -> Response {
        let (status, content) = match result {
            Ok(element) => ("ok", element),
            Err(failure) => {
                let (code, message) = failure.code_and_message();
                let error = Element::new().number("code", code.into()).text("message", message);
                ("failed", Element::new().one("error", error))
            }
        };
        let envelope = Element::new()
            .text("status", status)
            .text("version", VERSION)
            .text("type", "quartet")
            .text("serverVersion", env!("CARGO_PKG_VERSION"))
            .flag("openSubsonic", true)
            .and(content);
        let (kind, body) = self.written(envelope);
        ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response()
    }

    fn written(self, envelope: Element) -> (&'static str, String) {
        match self {
            Self::Xml => {
                let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
                let named = Element::new().text("xmlns", "http://subsonic.org/restapi").and(envelope);
                write("subsonic-response", &named, &mut out);
                ("application/xml; charset=utf-8", out)
            }
            Self::Json => {
                // An element always converts to JSON.
                let json = serde_json::to_string(&Element::new().one("subsonic-response", envelope));
                ("application/json", json.unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn sample() -> Element {
        let song = Element::new().text("title", "<\"A&B\"\n\u{1}>").number("track", 3).flag("isDir", false);
        let genre = Element::new().number("songCount", 2).text(TEXT, "R&B");
        Element::new()
            .many("song", vec![song, Element::new()])
            .one("genre", genre)
            .many("nothing", Vec::new())
            .numbers("versions", vec![1, 2])
            .maybe("artist", None::<String>)
    }

    #[test]
    fn both_formats_have_the_same_content() {
        let (_, json) = Form::Json.written(sample());
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&json).unwrap()["subsonic-response"],
            serde_json::json!({
                "song": [{ "title": "<\"A&B\"\n\u{1}>", "track": 3, "isDir": false }, {}],
                "genre": { "songCount": 2, "value": "R&B" },
                "nothing": [],
                "versions": [1, 2],
            })
        );
        let (_, xml) = Form::Xml.written(sample());
        assert_eq!(
            xml,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <subsonic-response xmlns=\"http://subsonic.org/restapi\">\
             <song title=\"&lt;&quot;A&amp;B&quot;&#10;&gt;\" track=\"3\" isDir=\"false\"/><song/>\
             <genre songCount=\"2\">R&amp;B</genre><versions>1</versions><versions>2</versions></subsonic-response>"
        );
    }
}
