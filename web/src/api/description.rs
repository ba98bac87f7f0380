//! What the OpenAPI description says about every operation.
//!
//! A handler describes what is particular to it. This module adds the rest to every operation: who has access, how
//! callers authenticate, the envelope of errors, the statuses that any request can meet with their codes, the headers
//! of every response, and a name. A new operation gets all of that without a word.
//!
//! A handler lists an error status only if not every operation of its kind has it, such as 409 and 422.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::endpoints::ACCESS;
use crate::auth::access::Access;
use crate::http::code::{About, Code};

/// The reference to the envelope of errors.
const REFUSAL: &str = "#/components/schemas/Refusal";
/// The methods of operations.
const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// The configuration of a cluster, as far as the description depends on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    /// Whether callers without an account may use the cluster.
    pub(super) anonymous: bool,
    /// Whether nodes serve HTTPS, where the session's cookie has another name.
    pub(super) https: bool,
}

/// The description, completed for every operation.
pub(super) fn complete(mut document: Value, setting: Setting) -> Value {
    bound(&mut document);
    let components = object(&mut document, "components");
    let schemas = object(components, "schemas");
    for (_, schema) in schemas.as_object_mut().into_iter().flatten().filter(|(name, _)| name.starts_with("Answer_")) {
        succeeds(schema);
    }
    schemas["Refusal"] = refusal();
    let codes: BTreeSet<&str> = Code::ALL.iter().map(|code| code.about().name).collect();
    schemas["ApiProblem"]["properties"]["code"]["enum"] = codes.into_iter().collect();
    components["securitySchemes"] = schemes(setting);
    components["headers"] = headers();
    let schemas = components["schemas"].clone();
    for (path, item) in object(&mut document, "paths").as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            if METHODS.contains(&method.as_str()) {
                finish(path, method, operation, &schemas, setting);
            }
        }
    }
    let info = object(&mut document, "info");
    let text = info["description"].as_str().unwrap_or_default();
    info["description"] = format!("{text}\n\n{}", table()).into();
    document
}

/// The object under a key, created if it is missing.
fn object<'a>(value: &'a mut Value, key: &str) -> &'a mut Value {
    if !value[key].is_object() {
        value[key] = Value::Object(Map::new());
    }
    &mut value[key]
}

/// Restricts an envelope to successful requests. Errors have a schema of their own.
fn succeeds(schema: &mut Value) {
    schema["required"] = json!(["ok", "errors", "data"]);
    schema["properties"]["ok"]["const"] = true.into();
    schema["properties"]["errors"]["maxItems"] = 0.into();
}

/// The envelope of a failed request.
fn refusal() -> Value {
    json!({
        "type": "object",
        "description": "The envelope of a failed request.",
        "required": ["ok", "errors", "data"],
        "properties": {
            "ok": { "type": "boolean", "const": false },
            "errors": { "type": "array", "minItems": 1, "items": { "$ref": "#/components/schemas/ApiProblem" } },
            "data": { "type": "null" },
        },
    })
}

/// The codes that an operation at this path may return with this status.
fn codes(path: &str, status: &str) -> impl Iterator<Item = About> {
    let all = Code::ALL.iter().map(|code| code.about());
    all.filter(move |code| code.status.as_str() == status && code.applies_to(path))
}

/// The envelope of a failed request at this path, with the codes that come with this status.
fn refused(path: &str, status: &str) -> Value {
    let codes: Vec<&str> = codes(path, status).map(|code| code.name).collect();
    json!({
        "allOf": [{ "$ref": REFUSAL }],
        "properties": { "errors": { "items": { "properties": { "code": { "enum": codes } } } } },
    })
}

/// The ways to authenticate.
fn schemes(setting: Setting) -> Value {
    json!({
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": crate::auth::request_auth::cookie_name(setting.https),
            "description": "The session that POST /auth/login starts.",
        },
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token from POST /users/{id}/tokens.",
        },
        "worker": {
            "type": "http",
            "scheme": "bearer",
            "description": "The token of an external worker. cluster.toml holds its SHA-256.",
        },
    })
}

/// The security requirements of an access, one of which a request must meet. Programs use tokens, so tokens come first.
fn security(access: &str, setting: Setting) -> Value {
    let (token, session, none) = (json!({ "token": [] }), json!({ "session": [] }), json!({}));
    let is = |one: Access| access == one.name();
    if is(Access::Public) || is(Access::Link) {
        json!([none])
    } else if is(Access::ExternalWorkers) {
        json!([{ "worker": [] }])
    } else if is(Access::Sessions) {
        json!([session])
    } else if is(Access::Guests) && setting.anonymous {
        json!([token, session, none])
    } else {
        json!([token, session])
    }
}

fn headers() -> Value {
    json!({
        "Request": {
            "description": "The id of the request in the logs of all nodes. A valid id from the client is kept.",
            "required": true,
            "schema": { "type": "string", "minLength": 1 },
        },
        "RetryAfter": {
            "description": "Seconds after which to try again.",
            "schema": { "type": "integer", "minimum": 0 },
        },
        "Authenticate": {
            "description": "The way to authenticate.",
            "required": true,
            "schema": { "type": "string" },
        },
        "ETag": {
            "description": "The entity tag. With If-None-Match the response is sent only if it has changed.",
            "required": true,
            "schema": { "type": "string", "pattern": "^\"[^\"]+\"$" },
        },
    })
}

/// Adds to an operation what holds for all.
fn finish(path: &str, method: &str, operation: &mut Value, schemas: &Value, setting: Setting) {
    operation["operationId"] = name(path, method).into();
    let safe = method == "get";
    let access = operation[ACCESS].as_str().unwrap_or_default().to_owned();
    operation["security"] = security(&access, setting);
    let sentence = Access::ALL.iter().find(|one| one.name() == access).map_or("", |one| one.sentence());
    operation["description"] = match operation["description"].as_str() {
        Some(text) => format!("{text}\n\n{sentence}").into(),
        None => sentence.into(),
    };
    let has_body = !operation["requestBody"].is_null();
    if has_body {
        takes(&mut operation["requestBody"], schemas);
    }
    let responses = object(operation, "responses");
    let generates = kinds(&responses["200"]).any(|kind| kind.starts_with("audio/") || kind == "application/zip");
    let hidden = path.contains('{') || access == Access::Administrators.name();
    let secret = access == Access::Public.name() || access == Access::Link.name();
    for (status, applies) in [
        ("400", true),
        ("401", !secret),
        ("403", !safe),
        ("404", hidden),
        ("413", has_body),
        ("415", has_body),
        ("500", true),
        ("503", true),
        ("507", generates),
    ] {
        if applies && responses[status].is_null() {
            responses[status] = json!({});
        }
    }
    if safe && gives_json(&responses["200"]) {
        responses["304"] = json!({ "description": "If-None-Match holds the entity tag of the response" });
    }
    for (status, response) in responses.as_object_mut().into_iter().flatten() {
        answers(path, status, response, safe);
    }
}

/// Describes a body in all its media types. Fields may be sent as JSON and also as a form, except for lists and null,
/// which a form cannot express. Any other body is a file.
fn takes(body: &mut Value, schemas: &Value) {
    if let Some(form) = body["content"].get("application/json").and_then(|json| as_form(json, schemas)) {
        body["content"]["application/x-www-form-urlencoded"] = form;
    }
    body["required"] = true.into();
    for (kind, content) in body["content"].as_object_mut().into_iter().flatten() {
        match kind.as_str() {
            "application/json" | "application/x-www-form-urlencoded" => {}
            "multipart/form-data" => {
                if let Some(form) = as_form(content, schemas) {
                    *content = form;
                }
            }
            _ => content["schema"] = json!({ "type": "string", "format": "binary" }),
        }
    }
}

/// The fields as a form, if a form can express all required fields.
fn as_form(content: &Value, schemas: &Value) -> Option<Value> {
    let mut content = content.clone();
    let schema = &mut content["schema"];
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        *schema = schemas[name].clone();
    }
    let required: Vec<Value> = schema["required"].as_array().cloned().unwrap_or_default();
    let fields = schema.get_mut("properties").and_then(Value::as_object_mut)?;
    let is_list = |field: &Value| is_of(&field["type"], "array");
    if fields.iter().any(|(name, field)| is_list(field) && required.contains(&name.as_str().into())) {
        return None;
    }
    fields.retain(|_, field| !is_list(field));
    fields.values_mut().for_each(never_null);
    Some(content)
}

/// Whether a type, or one of several types, is this one.
fn is_of(kind: &Value, name: &str) -> bool {
    kind == name || kind.as_array().is_some_and(|all| all.contains(&name.into()))
}

/// Removes null from the types of a field.
fn never_null(field: &mut Value) {
    if let Some(types) = field["type"].as_array() {
        field["type"] = types.iter().find(|name| *name != "null").cloned().unwrap_or_default();
    }
}

/// Adds the maximum to every unsigned integer: OpenAPI's own formats are signed. An integer as the name of a field is a
/// string.
fn bound(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let unsigned = fields.get("minimum").is_some_and(|least| least.as_f64().is_some_and(|least| least >= 0.0));
            if fields.get("type").is_some_and(|kind| is_of(kind, "integer"))
                && unsigned
                && !fields.contains_key("maximum")
            {
                let narrow = fields.get("format").is_some_and(|format| format == "int32");
                let (format, most) = if narrow { ("uint32", u64::from(u32::MAX)) } else { ("uint64", u64::MAX) };
                fields.insert("format".into(), format.into());
                fields.insert("maximum".into(), most.into());
            }
            if let Some(names) = fields.get_mut("propertyNames").filter(|names| is_of(&names["type"], "integer")) {
                *names = json!({ "type": "string", "pattern": "^[0-9]+$" });
            }
            fields.values_mut().for_each(bound);
        }
        Value::Array(values) => values.iter_mut().for_each(bound),
        _ => {}
    }
}

/// The media types of a response.
fn kinds(response: &Value) -> impl Iterator<Item = &String> {
    response["content"].as_object().into_iter().flat_map(Map::keys)
}

fn gives_json(response: &Value) -> bool {
    kinds(response).any(|kind| kind == "application/json")
}

/// Completes one of an operation's responses.
fn answers(path: &str, status: &str, response: &mut Value, safe: bool) {
    // Events and metrics change while they are read, so they have no entity tag.
    let tagged = !kinds(response).any(|kind| kind.starts_with("text/"));
    let headers = object(response, "headers");
    let mut has = |name: &str, component: &str| {
        headers[name] = json!({ "$ref": format!("#/components/headers/{component}") });
    };
    has("X-Request-Id", "Request");
    match status {
        "401" => has("WWW-Authenticate", "Authenticate"),
        "429" | "503" => has("Retry-After", "RetryAfter"),
        "200" | "206" | "304" if safe && tagged => has("ETag", "ETag"),
        _ => {}
    }
    for (kind, content) in response.get_mut("content").and_then(Value::as_object_mut).into_iter().flatten() {
        if !kind.starts_with("application/json") && !kind.starts_with("text/") {
            content["schema"] = json!({ "type": "string", "format": "binary" });
        }
    }
    // The response to an unsatisfiable range has no body; Content-Range holds the length.
    if status.starts_with(['4', '5']) && status != "416" {
        response["content"] = json!({ "application/json": { "schema": refused(path, status) } });
    }
    // A stream of events is not a string. The description of the operation lists the events.
    if let Some(Value::Object(events)) = response.pointer_mut("/content/text~1event-stream") {
        events.remove("schema");
    }
    if response["description"].as_str().is_none_or(str::is_empty) {
        let reasons: Vec<String> =
            codes(path, status).map(|code| format!("`{}`: {}", code.name, code.meaning)).collect();
        response["description"] = if reasons.is_empty() { "Success".into() } else { reasons.join(". ").into() };
    }
}

/// A unique name of an operation, made of its method and path.
fn name(path: &str, method: &str) -> String {
    let words = path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    [method].into_iter().chain(words).collect::<Vec<_>>().join("_")
}

/// The codes as a table.
fn table() -> String {
    let row = |About { name, status, meaning, .. }: About| format!("| `{name}` | {} | {meaning} |\n", status.as_u16());
    let rows: String = Code::ALL.iter().map(|code| row(code.about())).collect();
    format!(
        "Every error has one of these codes. A code stays the same when the message changes.\n\n\
         | code | status | meaning |\n| --- | --- | --- |\n{rows}"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn described(anonymous: bool) -> Value {
        complete(super::super::endpoints().finish().1, Setting { anonymous, https: false })
    }

    fn operations(document: &Value) -> Vec<(&String, &String, &Value)> {
        let paths = document["paths"].as_object().unwrap().iter();
        paths
            .flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |(method, of)| (path, method, of)))
            .collect()
    }

    #[test]
    fn every_operation_has_a_name_and_lists_its_errors() {
        let document = described(false);
        let operations = operations(&document);
        let names: BTreeSet<&str> = operations.iter().map(|(.., of)| of["operationId"].as_str().unwrap()).collect();
        assert_eq!(names.len(), operations.len(), "two operations have the same name");
        let tags: Vec<&Value> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
        let mut listed = BTreeSet::from(["method_not_allowed 405".to_owned()]);
        for (path, method, operation) in operations {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let refusal = status.starts_with(['4', '5']) && status != "416";
                let schema = &response["content"]["application/json"]["schema"];
                assert_eq!(refusal, schema["allOf"][0]["$ref"] == REFUSAL, "{method} {path} {status}");
                let codes = &schema["properties"]["errors"]["items"]["properties"]["code"]["enum"];
                let codes: Vec<&str> = codes.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                assert!(!refusal || !codes.is_empty(), "{method} {path} {status} has no code");
                listed.extend(codes.into_iter().map(|code| format!("{code} {status}")));
                assert!(!response["description"].as_str().unwrap().is_empty(), "{method} {path} {status}");
            }
            assert!(operation["summary"].is_string(), "{method} {path} has no summary");
            assert!(tags.contains(&&operation["tags"][0]), "{method} {path} has no tag");
        }
        let all = Code::ALL.iter().map(|code| code.about());
        let codes: BTreeSet<String> = all.map(|code| format!("{} {}", code.name, code.status.as_u16())).collect();
        assert_eq!(listed, codes, "no operation returns a code");
    }

    #[test]
    fn without_anonymous_use_few_operations_are_open() {
        let is_open = |of: &Value| of["security"].as_array().unwrap().contains(&json!({}));
        let closed = described(false);
        let open: Vec<_> =
            operations(&closed).into_iter().filter(|(.., of)| is_open(of)).map(|(path, ..)| path).collect();
        let fits = |path: &&String| {
            ["/auth/", "/shared/", "/healthz", "/readyz", "/metrics", "/api/"].iter().any(|open| path.starts_with(open))
        };
        assert!(!open.is_empty() && open.iter().all(fits), "{open:?}");
        let anonymous = described(true);
        assert!(is_open(&anonymous["paths"]["/songs/"]["get"]));
        assert!(!is_open(&anonymous["paths"]["/users/{id}"]["get"]), "users need an account in any case");
    }
}
