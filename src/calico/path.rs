//! Where in an object something is: keys and indexes.

use std::fmt;

use serde_json::Value;

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Key(String),
    Index(usize),
}

/// A JSON path inside the object; prints as `spec.ingress[0].source.nets[1]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<Step>);

impl Path {
    /// A path of keys only.
    pub fn keys(keys: &[&str]) -> Self {
        Path(keys.iter().map(|k| Step::Key(k.to_string())).collect())
    }

    pub fn key(&self, key: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_string()));
        Path(steps)
    }

    pub fn index(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        Path(steps)
    }

    /// One step up; the root stays the root.
    pub fn parent(&self) -> Self {
        Path(self.0[..self.0.len().saturating_sub(1)].to_vec())
    }

    /// The value there.
    pub fn find<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(object, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Index(index) => value.get(index),
        })
    }
}

/// Keys that are not plain words are quoted: `metadata.labels["a.b/c"]`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
                    write!(f, "{}{key}", if i == 0 { "" } else { "." })?;
                }
                Step::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prints_as_people_write_it_and_finds_its_value() {
        let path = Path::keys(&["spec", "ingress"])
            .index(0)
            .key("source")
            .key("nets")
            .index(1);
        assert_eq!(path.to_string(), "spec.ingress[0].source.nets[1]");
        let object = serde_json::json!({"spec": {"ingress": [{"source": {"nets": [1, 2]}}]}});
        assert_eq!(path.find(&object), Some(&serde_json::json!(2)));
        assert_eq!(path.key("x").find(&object), None);
        assert_eq!(
            Path::keys(&["metadata", "labels", "a.b/c"]).to_string(),
            r#"metadata.labels["a.b/c"]"#
        );
        assert_eq!(Path::default().parent(), Path::default());
    }
}
