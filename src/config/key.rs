//! One definition per key: what parses, judges, documents and prints it.

use super::Config;
use super::given::Given;
use super::kind::Kind;

/// A key that can be set, and everything known about it.
pub struct Key {
    name: &'static str,
    doc: String,
    setting: Box<dyn Setting>,
}

impl Key {
    /// A key whose value is a field of its section.
    pub(super) fn field<K: Kind + 'static>(
        name: &'static str,
        doc: &[&str],
        kind: K,
        get: fn(&Config) -> &K::Value,
        get_mut: fn(&mut Config) -> &mut K::Value,
    ) -> Self {
        Self { name, doc: one_line(doc), setting: Box::new(Field { kind, get, get_mut }) }
    }

    /// `section.name`
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The part before the dot.
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(section, _)| section)
    }

    /// The part after the dot.
    pub fn short_name(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, short)| short)
    }

    /// What it means, in Markdown.
    pub fn doc(&self) -> &str {
        &self.doc
    }

    /// What is allowed, as a noun phrase.
    pub fn allowed(&self) -> String {
        self.setting.allowed()
    }

    /// Its value in `config`, as it would stand in the file; secrets are blanked out.
    pub fn show(&self, config: &Config) -> String {
        self.setting.show(config)
    }

    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}__{}", self.section().to_uppercase(), self.short_name().to_uppercase())
    }

    /// Sets it.
    ///
    /// # Errors
    /// The whole sentence: what the value is, and what is allowed.
    pub(super) fn set(&self, given: &Given, config: &mut Config) -> Result<(), String> {
        self.setting.set(given, config).map_err(|problem| format!("{} is {problem}; allowed: {}", self.name, self.allowed()))
    }
}

/// How the environment variables of the settings begin.
pub(super) const PREFIX: &str = "DUALSTREAM__";

/// A [`Kind`] bound to its place in [`Config`], whatever its type.
trait Setting {
    fn set(&self, given: &Given, config: &mut Config) -> Result<(), String>;
    fn show(&self, config: &Config) -> String;
    fn allowed(&self) -> String;
}

struct Field<K: Kind> {
    kind: K,
    get: fn(&Config) -> &K::Value,
    get_mut: fn(&mut Config) -> &mut K::Value,
}

impl<K: Kind> Setting for Field<K> {
    fn set(&self, given: &Given, config: &mut Config) -> Result<(), String> {
        let value = self.kind.read(given)?;
        self.kind.put((self.get_mut)(config), value);
        Ok(())
    }

    fn show(&self, config: &Config) -> String {
        self.kind.show((self.get)(config))
    }

    fn allowed(&self) -> String {
        self.kind.allowed()
    }
}

/// Joins the lines of a doc comment.
fn one_line(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// Defines a section: the struct that the stages read, its defaults, and its keys, from one definition per key.
///
/// Each key is `/// doc`, `name: type = default, kind;`.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident in $section:ident {
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr, $kind:expr; )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, PartialEq)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $type, )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        // By the kinds, so that no secret is printed.
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))
                    $( .field(stringify!($field), &format_args!("{}", $crate::config::kind::Kind::show(&$kind, &self.$field))) )+
                    .finish()
            }
        }

        impl $name {
            /// What the section is about, for the reference.
            pub(super) const ABOUT: &'static [&'static str] = &[$($about),+];

            /// The keys of the section, in the order of the reference.
            pub(super) fn keys() -> Vec<$crate::config::key::Key> {
                vec![
                    $( $crate::config::key::Key::field(
                        concat!(stringify!($section), ".", stringify!($field)),
                        &[$($doc),+],
                        $kind,
                        |config| &config.$section.$field,
                        |config| &mut config.$section.$field,
                    ), )+
                ]
            }
        }
    };
}

pub(super) use section;
