//! The form that EC2's Query API takes, written so that every verifier computes the same signature.

/// Name and value pairs of one action.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pairs: Vec<(String, String)>,
}

impl Form {
    /// An action of the API version that EC2 has kept since 2016.
    pub fn action(name: &str) -> Form {
        let form = Form { pairs: Vec::new() };
        form.with("Action", name).with("Version", "2016-11-15")
    }

    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Form {
        self.pairs.push((name.into(), value.into()));
        self
    }

    /// The n-th filter (from 1): one of these values.
    pub fn filter<'a>(mut self, n: usize, name: &str, values: impl IntoIterator<Item = &'a String>) -> Form {
        self = self.with(format!("Filter.{n}.Name"), name);
        for (at, value) in values.into_iter().enumerate() {
            self = self.with(format!("Filter.{n}.Value.{}", at + 1), value);
        }
        self
    }

    /// Some values of a list parameter, counted from 1.
    pub fn list<'a>(mut self, name: &str, values: impl IntoIterator<Item = &'a str>) -> Form {
        for (at, value) in values.into_iter().enumerate() {
            self = self.with(format!("{name}.{}", at + 1), value);
        }
        self
    }

    pub fn name(&self) -> &str {
        &self.pairs[0].1
    }

    /// As Python's `urlencode` spells it. A verifier that reads the form and writes it again, as one emulator does,
    /// then sees the bytes that were signed; the WHATWG form leaves `*` as it is and escapes `~`.
    pub fn encoded(&self) -> String {
        let mut out = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &self.pairs {
            out.append_pair(name, value);
        }
        out.finish().replace('*', "%2A").replace("%7E", "~")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_written_as_python_writes_it() {
        let form = Form::action("DescribeInstances").filter(1, "tag:Name", [&"a b*~é/+&".to_string()]);
        let encoded = "Action=DescribeInstances&Version=2016-11-15&Filter.1.Name=tag%3AName\
                       &Filter.1.Value.1=a+b%2A~%C3%A9%2F%2B%26";
        assert_eq!(form.encoded(), encoded);
        assert_eq!(form.name(), "DescribeInstances");
    }
}
