//! Changes of the state in readable form.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;
use storage::blobs::Hash;

use crate::command::{Answer, Refusal};
use crate::key::Range;
use crate::tables::{self, ANSWERED, ANSWERS, ANSWERS_REMOVED, COUNTERS, OPEN_TASKS, PLAYS, SORTED, WORDS};
use crate::{Audience, Read, View};

/// The names of hashes.
#[derive(Default)]
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    /// The hash of a name.
    pub(super) fn hash(&mut self, name: &str) -> Hash {
        let hash = Hash::of(name.as_bytes());
        self.0.insert(hash.to_string(), name.to_owned());
        hash
    }

    /// A text with `#name` for each hash of a name.
    pub(super) fn shown(&self, text: &str) -> String {
        let named = |text: String, (hash, name): (&String, &String)| text.replace(hash, &format!("#{name}"));
        self.0.iter().fold(text.to_owned(), named)
    }
}

pub(super) fn audience(audience: Audience) -> String {
    match audience {
        Audience::Everybody => "everybody".into(),
        Audience::User(user) => format!("user {user}"),
    }
}

/// An answer or a refusal.
pub(super) fn outcome(outcome: &Result<Answer, Refusal>) -> String {
    match outcome {
        Ok(Answer::Done) => "done".into(),
        Ok(Answer::Song(song)) => format!("song {} of job {}", song.id, song.job),
        Ok(Answer::Job(job)) => format!("job {job}"),
        Ok(Answer::Made(number)) => format!("made {number}"),
        Ok(Answer::Claimed(task)) => {
            format!("claimed {}", value(&serde_json::to_value(task.kind).unwrap()))
        }
        Err(refusal) => format!("refused: {refusal}"),
    }
}

/// Writes what has changed since `before`, a line for each value, and a line for all rows of indexes.
pub(super) fn changes(out: &mut String, before: &View, changes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>, names: &Names) {
    let mut rows = Vec::new();
    for (key, new) in changes {
        if is_left_out(key) {
            continue;
        }
        let entry = names.shown(&tables::show_key(key));
        let old = before.bytes(key).unwrap().map(|bytes| tables::decode(key, &bytes));
        let new = new.as_ref().map(|bytes| tables::decode(key, bytes));
        match (old, new) {
            (old, new) if old == new => {}
            (None, Some(new)) if is_row(key, &new) => rows.push(format!("+{entry}")),
            (Some(old), None) if is_row(key, &old) => rows.push(format!("-{entry}")),
            (None, Some(mut new)) => {
                // The key has it.
                new.as_object_mut().and_then(|fields| fields.remove("id"));
                write!(out, "\n  {entry} = {}", names.shown(&value(&new))).unwrap();
            }
            (Some(_), None) => write!(out, "\n  {entry} removed").unwrap(),
            (Some(old), Some(new)) => {
                let mut fields = Vec::new();
                differences("", &old, &new, &mut fields);
                write!(out, "\n  {entry}: {}", names.shown(&fields.join(", "))).unwrap();
            }
            (None, None) => {}
        }
    }
    if !rows.is_empty() {
        write!(out, "\n  {}", rows.join(" ")).unwrap();
    }
}

fn is_left_out(key: &[u8]) -> bool {
    let ranges = [SORTED.all(), WORDS.all(), ANSWERS.all(), ANSWERED.all(), ANSWERS_REMOVED.all(), COUNTERS.all()];
    ranges.iter().any(|range| contains(range, key))
}

/// Whether a value only names a thing, as those of indexes do.
fn is_row(key: &[u8], value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.len() == 1 || contains(&OPEN_TASKS.all(), key),
        Value::Array(_) => false,
        _ => !contains(&PLAYS.all(), key),
    }
}

fn contains((from, to): &Range, key: &[u8]) -> bool {
    (&from[..]..&to[..]).contains(&key)
}

/// The differences between two values, field by field.
fn differences(path: &str, old: &Value, new: &Value, out: &mut Vec<String>) {
    let at = |path: &str, field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
    match (old, new) {
        (Value::Object(before), Value::Object(after)) if before.keys().eq(after.keys()) && before.len() > 1 => {
            for (field, old) in before {
                if *old != after[field] {
                    differences(&at(path, field), old, &after[field], out);
                }
            }
        }
        (Value::Array(before), Value::Array(after)) if after.len() > before.len() && after.starts_with(before) => {
            let added: Vec<_> = after[before.len()..].iter().map(value).collect();
            out.push(format!("{path} += {}", added.join(", ")));
        }
        (Value::Array(before), Value::Array(after))
            if after.len() == before.len() && before.iter().all(Value::is_object) =>
        {
            for (place, (old, new)) in before.iter().zip(after).enumerate() {
                if old != new {
                    differences(&format!("{path}[{place}]"), old, new, out);
                }
            }
        }
        (old, new) if is_empty(old) => out.push(format!("{path} = {}", value(new))),
        (old, new) => out.push(format!("{path} {} → {}", value(old), value(new)).trim_start().to_owned()),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A value without its empty fields.
fn value(of: &Value) -> String {
    match of {
        empty if is_empty(empty) => "none".into(),
        Value::String(text) => text.clone(),
        Value::Array(values) => format!("[{}]", values.iter().map(value).collect::<Vec<_>>().join(", ")),
        // A variant of an enum, or a map with one entry.
        Value::Object(fields) if fields.len() == 1 => {
            fields.iter().map(|(name, field)| format!("{name} {}", value(field))).collect()
        }
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, field)| !is_empty(field));
            let fields: Vec<_> = fields.map(|(name, field)| format!("{name}: {}", value(field))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}
