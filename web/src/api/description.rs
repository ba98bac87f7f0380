//! What the description of the interface says of every operation alike.
//!
//! Each handler describes what is particular to it. What holds for all is added here, to whatever operations there are:
//! how callers show who they are, the envelope of refusals, the statuses that any request can meet, the headers of
//! every answer, a name for each operation. So a new operation has all that without a word.
//!
//! Who need not be anybody says `security(())` in its own description. Of the others the whole description says what
//! the cluster's configuration says: where people without an account are let in, it is left open who asks.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::codes::{CODES, Code};

/// Where the envelope of refusals lies.
const REFUSAL: &str = "#/components/schemas/Refusal";
/// What an operation can be called with.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// How a cluster is configured, as far as its description says so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    /// Whether people without an account are let in.
    pub(super) anonymous: bool,
    /// Whether nodes speak HTTPS, where the session's cookie has another name.
    pub(super) https: bool,
}

/// The description with all that holds for every operation.
pub(super) fn complete(mut document: Value, setting: Setting) -> Value {
    bound(&mut document);
    let components = object(&mut document, "components");
    let schemas = object(components, "schemas");
    for (_, schema) in schemas.as_object_mut().into_iter().flatten().filter(|(name, _)| name.starts_with("Answer_")) {
        succeeds(schema);
    }
    schemas["Refusal"] = refusal();
    let codes: BTreeSet<&str> = CODES.iter().map(|code| code.name).collect();
    schemas["Problem"]["properties"]["code"]["enum"] = codes.into_iter().collect();
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
    let words = info["description"].as_str().unwrap_or_default();
    info["description"] = format!("{words}\n\n{}", table()).into();
    document
}

/// The object under a key, made if it is not there.
fn object<'a>(value: &'a mut Value, key: &str) -> &'a mut Value {
    if !value[key].is_object() {
        value[key] = Value::Object(Map::new());
    }
    &mut value[key]
}

/// Narrows an envelope to what it is when all went well; the other case is a schema of its own.
fn succeeds(schema: &mut Value) {
    schema["required"] = json!(["ok", "errors", "data"]);
    schema["properties"]["ok"]["const"] = true.into();
    schema["properties"]["errors"]["maxItems"] = 0.into();
}

/// The envelope of what was not done.
fn refusal() -> Value {
    json!({
        "type": "object",
        "description": "The envelope of a request that was not done.",
        "required": ["ok", "errors", "data"],
        "properties": {
            "ok": { "type": "boolean", "const": false },
            "errors": { "type": "array", "minItems": 1, "items": { "$ref": "#/components/schemas/Problem" } },
            "data": { "type": "null" },
        },
    })
}

/// The envelope of what was not done at this path, with the codes that come with this status there.
fn refused(path: &str, status: &str) -> Value {
    let fits = |code: &&Code| code.status.to_string() == status && code.is_of(path);
    let codes: Vec<&str> = CODES.iter().filter(fits).map(|code| code.name).collect();
    json!({
        "allOf": [{ "$ref": REFUSAL }],
        "properties": { "errors": { "items": { "properties": { "code": { "enum": codes } } } } },
    })
}

/// How callers show who they are.
fn schemes(setting: Setting) -> Value {
    json!({
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": crate::caller::cookie_name(setting.https),
            "description": "The session that POST /auth/login begins.",
        },
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token that POST /users/{id}/tokens has made.",
        },
        "worker": {
            "type": "http",
            "scheme": "bearer",
            "description": "A worker's token, whose SHA-256 stands in cluster.toml.",
        },
    })
}

fn headers() -> Value {
    json!({
        "Request": {
            "description": "The request's name in the logs of all nodes: what the client sent, if that is sensible.",
            "required": true,
            "schema": { "type": "string", "minLength": 1 },
        },
        "RetryAfter": {
            "description": "Seconds after which trying again makes sense.",
            "schema": { "type": "integer", "minimum": 0 },
        },
        "Authenticate": {
            "description": "How to show who one is.",
            "required": true,
            "schema": { "type": "string" },
        },
        "ETag": {
            "description": "Names exactly this answer. With If-None-Match it is sent again only if it is another one.",
            "required": true,
            "schema": { "type": "string", "pattern": "^\"[^\"]+\"$" },
        },
    })
}

/// Adds to an operation what holds for all.
fn finish(path: &str, method: &str, operation: &mut Value, schemas: &Value, setting: Setting) {
    operation["operationId"] = name(path, method).into();
    let safe = matches!(method, "get" | "head");
    let open = operation["security"].as_array().is_some_and(|ways| ways.iter().any(|way| way == &json!({})));
    if operation["security"].is_null() {
        let mut ways = vec![json!({ "session": [] }), json!({ "token": [] })];
        ways.extend(setting.anonymous.then(|| json!({})));
        operation["security"] = ways.into();
    }
    // Programs come with a token; a session suffices alone where a token would not.
    if let Some(ways) = operation["security"].as_array_mut() {
        ways.sort_by_key(|way| way.get("token").is_none());
    }
    let has_body = !operation["requestBody"].is_null();
    if has_body {
        takes(&mut operation["requestBody"], schemas);
    }
    let responses = object(operation, "responses");
    let makes_file = kinds(&responses["200"]).any(|kind| kind.starts_with("audio/") || kind == "application/zip");
    let mut can = |status: &str, words: &str| {
        if responses[status].is_null() {
            responses[status] = json!({ "description": words });
        }
    };
    can("400", "The request is not written as this description says");
    if !open {
        can("401", "Nobody is let in without an account, or the token opens nothing");
    }
    if !safe {
        can("403", "The page of another site sent this");
    }
    if path.contains('{') {
        can("404", "Nothing has this address, or nothing of the caller's");
    }
    if has_body {
        can("413", "The body is too large");
        can("415", "The body is of another kind");
    }
    if makes_file {
        can("507", "This node has no room to make the file");
    }
    can("500", "This node failed; its log says how");
    can("503", "No majority of the nodes answers, or this node has too much to do");
    if safe && gives_json(&responses["200"]) {
        responses["304"] = json!({ "description": "If-None-Match names what the answer would be" });
    }
    for (status, response) in responses.as_object_mut().into_iter().flatten() {
        answers(path, status, response, safe);
    }
}

/// Describes a body in all the kinds in which it is taken: fields come as JSON and, as far as a form can say them, as a
/// form: it has no lists and no null. Anything else is a file.
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

/// What fields are as a form's, if those that must be there can be said in one.
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

/// Whether a type, or one of several, is this one.
fn is_of(kind: &Value, name: &str) -> bool {
    kind == name || kind.as_array().is_some_and(|all| all.contains(&name.into()))
}

/// Takes null from what a field may be.
fn never_null(field: &mut Value) {
    if let Some(types) = field["type"].as_array() {
        field["type"] = types.iter().find(|name| *name != "null").cloned().unwrap_or_default();
    }
}

/// Says of every whole number how large it may be: what is written as 64 bits without a sign is not the 63 that OpenAPI's
/// formats know. As the name of a field, a number is a string.
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

/// The kinds in which an answer's body comes.
fn kinds(response: &Value) -> impl Iterator<Item = &String> {
    response["content"].as_object().into_iter().flat_map(Map::keys)
}

fn gives_json(response: &Value) -> bool {
    kinds(response).any(|kind| kind == "application/json")
}

/// Completes one of an operation's answers.
fn answers(path: &str, status: &str, response: &mut Value, safe: bool) {
    // What changes while it is read has no tag: events, and the node's numbers.
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
    // Where the range should have been is in a header, and nothing more is there to say.
    if status.starts_with(['4', '5']) && status != "416" {
        response["content"] = json!({ "application/json": { "schema": refused(path, status) } });
    }
    // An event is no string; its description says in words what it is.
    if let Some(Value::Object(events)) = response.pointer_mut("/content/text~1event-stream") {
        events.remove("schema");
    }
    if response["description"].as_str().is_none_or(str::is_empty) {
        response["description"] = "It is done".into();
    }
}

/// A name that no other operation has, made of its method and path.
fn name(path: &str, method: &str) -> String {
    let words = path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    [method].into_iter().chain(words).collect::<Vec<_>>().join("_")
}

/// The codes for people.
fn table() -> String {
    let rows: String =
        CODES.iter().map(|code| format!("| `{}` | {} | {} |\n", code.name, code.status, code.when)).collect();
    format!(
        "Every error has one of these codes, which stay when its message changes:\n\n\
         | code | status | when |\n| --- | --- | --- |\n{rows}"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn described(anonymous: bool) -> Value {
        super::super::described(Setting { anonymous, https: false })
    }

    fn operations(document: &Value) -> Vec<(&String, &String, &Value)> {
        let paths = document["paths"].as_object().unwrap().iter();
        paths
            .flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |(method, of)| (path, method, of)))
            .collect()
    }

    #[test]
    fn every_operation_has_a_name_and_says_what_it_refuses() {
        let document = described(false);
        let operations = operations(&document);
        let names: BTreeSet<&str> = operations.iter().map(|(.., of)| of["operationId"].as_str().unwrap()).collect();
        assert_eq!(names.len(), operations.len(), "two operations have one name");
        let tags: Vec<&Value> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
        let mut said = BTreeSet::from(["method_not_allowed 405".to_owned()]);
        for (path, method, operation) in operations {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let refusal = status.starts_with(['4', '5']) && status != "416";
                let schema = &response["content"]["application/json"]["schema"];
                assert_eq!(refusal, schema["allOf"][0]["$ref"] == REFUSAL, "{method} {path} {status}");
                let codes = &schema["properties"]["errors"]["items"]["properties"]["code"]["enum"];
                let codes: Vec<&str> = codes.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                assert!(!refusal || !codes.is_empty(), "{method} {path} {status} has no code");
                said.extend(codes.into_iter().map(|code| format!("{code} {status}")));
                assert!(!response["description"].as_str().unwrap().is_empty(), "{method} {path} {status}");
            }
            assert!(operation["summary"].is_string(), "{method} {path} says not what it does");
            assert!(tags.contains(&&operation["tags"][0]), "{method} {path} stands in no group");
        }
        let codes: BTreeSet<String> = CODES.iter().map(|code| format!("{} {}", code.name, code.status)).collect();
        assert_eq!(said, codes, "a code is nobody's");
    }

    #[test]
    fn where_nobody_is_let_in_without_an_account_little_is_open() {
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
