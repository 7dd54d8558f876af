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
    pub fn key(&self, key: &str) -> Self {
        self.clone().with(Step::Key(key.to_string()))
    }

    pub fn index(&self, index: usize) -> Self {
        self.clone().with(Step::Index(index))
    }

    fn with(mut self, step: Step) -> Self {
        self.0.push(step);
        self
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

/// A path on the way down. Most lead nowhere worth telling of, so they are put together only once something is found.
#[derive(Clone, Copy, Debug)]
pub(super) enum At<'a> {
    /// Keys from the root; none of them is the root.
    Keys(&'a [&'a str]),
    Key(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
    /// Of the list with that key.
    Item(&'a At<'a>, &'a str, usize),
    /// Put together already.
    Path(&'a Path),
}

impl<'a> At<'a> {
    pub fn key(&'a self, key: &'a str) -> At<'a> {
        At::Key(self, key)
    }

    pub fn index(&'a self, index: usize) -> At<'a> {
        At::Index(self, index)
    }

    /// An item of the list with that key.
    pub fn item(&'a self, key: &'a str, index: usize) -> At<'a> {
        At::Item(self, key, index)
    }

    pub fn is_root(&self) -> bool {
        matches!(self, At::Keys([]))
    }

    pub fn path(&self) -> Path {
        match self {
            At::Keys(keys) => Path(keys.iter().map(|key| Step::Key(key.to_string())).collect()),
            At::Key(above, key) => above.path().with(Step::Key(key.to_string())),
            At::Index(above, index) => above.path().with(Step::Index(*index)),
            At::Item(above, key, index) => above.key(key).path().with(Step::Index(*index)),
            At::Path(path) => (*path).clone(),
        }
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
        let spec = At::Keys(&["spec"]);
        let source = spec.item("ingress", 0);
        let path = source.key("source").item("nets", 1).path();
        assert_eq!(path.to_string(), "spec.ingress[0].source.nets[1]");
        let object = serde_json::json!({"spec": {"ingress": [{"source": {"nets": [1, 2]}}]}});
        assert_eq!(path.find(&object), Some(&serde_json::json!(2)));
        assert_eq!(path.key("x").find(&object), None);
        assert_eq!(
            At::Keys(&["metadata", "labels", "a.b/c"]).path().to_string(),
            r#"metadata.labels["a.b/c"]"#
        );
        assert_eq!(Path::default().parent(), Path::default());
    }
}
