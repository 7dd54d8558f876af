//! The record, in the cluster, of what a plan owns and which values it found before changing them.
//!
//! One ConfigMap a plan, in the inventory namespace. It is written before the changes it protects, and read by
//! every plan: what another plan claims is known from here. Knows nothing of how it is stored beyond that shape.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::resource::{FieldPath, Key, Kind};

/// The format this binary writes, and the newest it reads.
pub const FORMAT: u32 = 1;
/// Etcd and the API server refuse objects above 1.5 MiB; a ConfigMap may hold 1 MiB.
pub const MAX_BYTES: usize = 1_000_000;
/// On inventories and on objects that hostguard created: the plan's name.
pub const PLAN_LABEL: &str = "hostguard.dev/plan";
/// On inventories only.
pub const INVENTORY_LABEL: &str = "hostguard.dev/inventory";

const DATA_KEY: &str = "inventory.json";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    pub format: u32,
    pub plan: String,
    /// The number of the lock under which it was written last; it only grows.
    #[serde(default, skip_serializing_if = "no_lock")]
    pub fence: u64,
    /// Nodes picked for each group: they stay while eligible.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub picks: BTreeMap<String, Vec<String>>,
    /// What was accepted although it was worse on the way, as STEP=PACKET.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub accepted: BTreeSet<String>,
    /// By `Key`'s text.
    #[serde(default)]
    pub entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// hostguard created the object, or was about to: the object is ours if it carries the plan's label.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub created: bool,
    /// By JSON pointer.
    pub fields: BTreeMap<String, Recorded>,
}

/// A field that the plan wrote, or was about to write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The value found; absent in JSON when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Digest of the value written, in canonical form.
    pub wrote: String,
}

fn no_lock(fence: &u64) -> bool {
    *fence == 0
}

/// Why a ConfigMap in the inventory namespace could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    Newer { found: u32 },
    Broken(String),
}

impl Inventory {
    pub fn new(plan: &str) -> Inventory {
        Inventory {
            format: FORMAT,
            plan: plan.to_string(),
            ..Inventory::default()
        }
    }

    pub fn key(namespace: &str, plan: &str) -> Key {
        Key::namespaced(Kind::ConfigMap, namespace, format!("hostguard-{plan}"))
    }

    pub fn entry(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(&key.to_string())
    }

    pub fn recorded(&self, key: &Key, path: &FieldPath) -> Option<&Recorded> {
        self.entry(key)?.fields.get(&path.pointer())
    }

    /// Entries with their keys parsed; a key of a kind this binary does not know is an error of the record.
    pub fn keyed(&self) -> Result<Vec<(Key, &Entry)>, Unusable> {
        self.entries
            .iter()
            .map(|(text, entry)| match Key::parse(text) {
                Some(key) => Ok((key, entry)),
                None => Err(Unusable::Broken(format!("`{text}` is not a key"))),
            })
            .collect()
    }

    fn packed(&self) -> Value {
        pack(
            DATA_KEY,
            serde_json::to_string_pretty(self).expect("an inventory is plain data"),
        )
    }

    /// What counts against the limit of a ConfigMap.
    pub fn size(&self) -> usize {
        self.packed().to_string().len()
    }

    /// The ConfigMap that holds it.
    pub fn object(&self, namespace: &str) -> Value {
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": Inventory::key(namespace, &self.plan).name,
                "namespace": namespace,
                "labels": {PLAN_LABEL: self.plan, INVENTORY_LABEL: "true"},
            },
        });
        crate::changes::merge(&mut object, &self.packed());
        object
    }

    /// The inventory in a ConfigMap; `None` when it is something else.
    pub fn read(object: &Value) -> Option<Result<Inventory, Unusable>> {
        object.pointer("/metadata/labels")?.get(INVENTORY_LABEL)?;
        Some(Inventory::parse(object))
    }

    fn parse(object: &Value) -> Result<Inventory, Unusable> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let broken = |e: String| Unusable::Broken(e);
        let text = unpack(object, DATA_KEY)?;
        let head: Head = serde_json::from_str(&text).map_err(|e| broken(e.to_string()))?;
        if head.format > FORMAT {
            return Err(Unusable::Newer { found: head.format });
        }
        let inventory: Inventory = serde_json::from_str(&text).map_err(|e| broken(e.to_string()))?;
        inventory.keyed()?;
        Ok(inventory)
    }
}

/// Texts up to this size are kept as they are, for people.
const READABLE: usize = 250_000;
/// No more is unpacked of one object: what hostguard packs is far below it.
const MOST_UNPACKED: u64 = 100_000_000;

/// A text as a ConfigMap holds it: plain, or compressed where it is large. What it held of the other form goes.
pub(crate) fn pack(key: &str, text: String) -> Value {
    let compressed = format!("{key}.gz");
    if text.len() <= READABLE {
        return json!({"data": {key: text}});
    }
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let written = packer.write_all(text.as_bytes()).and_then(|()| packer.finish());
    let bytes = written.expect("a vector takes every byte");
    json!({"binaryData": {compressed: STANDARD.encode(bytes)}})
}

/// The inverse of [`pack`].
pub(crate) fn unpack(object: &Value, key: &str) -> Result<String, Unusable> {
    let of = |map: &str, key: &str| object.get(map).and_then(|data| data.get(key)).and_then(Value::as_str);
    if let Some(text) = of("data", key) {
        return Ok(text.to_string());
    }
    let broken = |why: String| Unusable::Broken(why);
    let missing = || broken(format!("no `data` entry `{key}`"));
    let packed = of("binaryData", &format!("{key}.gz")).ok_or_else(missing)?;
    let bytes = STANDARD.decode(packed).map_err(|e| broken(e.to_string()))?;
    let mut text = String::new();
    let mut reader = flate2::read::GzDecoder::new(bytes.as_slice()).take(MOST_UNPACKED);
    reader.read_to_string(&mut text).map_err(|e| broken(e.to_string()))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inventory_reads_back_what_it_wrote() {
        let mut inventory = Inventory::new("shop");
        let recorded = Recorded {
            before: Some(json!("Disabled")),
            wrote: "sha256:0".into(),
        };
        let entry = Entry {
            created: false,
            fields: [("/spec/x".to_string(), recorded)].into(),
        };
        inventory.entries.insert("Tier/security".into(), entry);
        let object = inventory.object("hostguard");
        assert_eq!(Inventory::read(&object), Some(Ok(inventory)));
        assert_eq!(Inventory::read(&json!({"metadata": {"labels": {"a": "b"}}})), None);
    }

    #[test]
    fn a_newer_or_broken_inventory_is_refused() {
        let with = |text: &str| {
            let mut object = Inventory::new("shop").object("hostguard");
            object["data"][DATA_KEY] = json!(text);
            Inventory::read(&object).expect("labelled")
        };
        assert_eq!(
            with(r#"{"format": 2, "future": []}"#),
            Err(Unusable::Newer { found: 2 })
        );
        assert!(matches!(with("{"), Err(Unusable::Broken(_))));
        assert!(matches!(
            with(r#"{"format":1,"plan":"a","entries":{"Secret/a/b":{"fields":{}}}}"#),
            Err(Unusable::Broken(_))
        ));
    }
}
