//! Groups of options that a tool has several times, once for each of its servers: `--ca-file`, `--registry-ca-file`.
//!
//! A group is one clap type with a [`Prefix`] as its parameter. Its names, its relations and the hints that mention it all
//! come from the parameter, so a hint names an option as the tool at hand spells it.

use std::fmt::Debug;

/// What the names of a group's options begin with.
pub trait Prefix: Debug + Default + Clone + Copy + Send + Sync + 'static {
    /// The part before each name, with its dash.
    const PREFIX: &'static str;
    /// The heading in `--help`, if it is not the group's own.
    const HEADING: Option<&'static str>;

    /// An option's name and id in clap. A new name lives as long as the process, which parses its options once.
    fn name(option: &'static str) -> &'static str {
        if Self::PREFIX.is_empty() { option } else { String::leak(format!("{}{option}", Self::PREFIX)) }
    }

    /// A one-letter name, which only a group without a prefix has.
    fn short(letter: char) -> Option<char> {
        Self::PREFIX.is_empty().then_some(letter)
    }

    /// The heading in `--help`, if the group's own is `heading`.
    fn heading(heading: &'static str) -> &'static str {
        Self::HEADING.unwrap_or(heading)
    }
}

/// Declares a [`Prefix`]: the type's name, what the options begin with, and their heading in `--help`.
#[macro_export]
macro_rules! prefix {
    ($(#[$doc:meta])* $name:ident, $prefix:expr, $heading:expr) => {
        $(#[$doc])*
        #[derive(Debug, Default, Clone, Copy)]
        pub(crate) struct $name;

        impl $crate::Prefix for $name {
            const PREFIX: &'static str = $prefix;
            const HEADING: Option<&'static str> = Some($heading);
        }
    };
}

/// No prefix: the tool has the group once.
#[derive(Debug, Default, Clone, Copy)]
pub struct Bare;

impl Prefix for Bare {
    const PREFIX: &'static str = "";
    const HEADING: Option<&'static str> = None;
}

/// How the options of a group are spelled, for messages.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Spelling(&'static str);

impl Spelling {
    /// The spelling of a prefix.
    pub fn of<P: Prefix>() -> Self {
        Self(P::PREFIX)
    }

    /// `--ca-file`, or `--registry-ca-file`.
    pub fn option(self, name: &str) -> String {
        format!("--{}{name}", self.0)
    }

    /// The option that names a user: `-u`, or `--registry-username`.
    pub fn user(self) -> String {
        if self.0.is_empty() { "-u".to_owned() } else { self.option("username") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command, FromArgMatches};
    use std::marker::PhantomData;

    #[derive(clap::Args, Debug)]
    #[group(skip)]
    #[command(next_help_heading = P::heading("Pair"))]
    struct Pair<P: Prefix = Bare> {
        #[arg(id = P::name("left"), long = P::name("left"), short = P::short('l'), requires = P::name("right"))]
        left: Option<String>,
        #[arg(id = P::name("right"), long = P::name("right"))]
        right: Option<String>,
        #[arg(skip)]
        prefix: PhantomData<P>,
    }

    #[derive(Debug, Default, Clone, Copy)]
    struct Other;

    impl Prefix for Other {
        const PREFIX: &'static str = "other-";
        const HEADING: Option<&'static str> = Some("Other options");
    }

    fn command() -> Command {
        <Pair<Other>>::augment_args(<Pair>::augment_args(Command::new("test")))
    }

    #[test]
    fn two_groups_of_one_type_are_apart() {
        command().debug_assert();
        let matches = command().try_get_matches_from(["test", "-l", "1", "--right", "2", "--other-right", "3"]).unwrap();
        let (bare, other) = (<Pair>::from_arg_matches(&matches).unwrap(), <Pair<Other>>::from_arg_matches(&matches).unwrap());
        assert_eq!((bare.left.as_deref(), bare.right.as_deref()), (Some("1"), Some("2")));
        assert_eq!((other.left.as_deref(), other.right.as_deref()), (None, Some("3")));
        let other = command().get_arguments().find(|argument| argument.get_id() == "other-left").cloned().unwrap();
        assert_eq!((other.get_short(), other.get_help_heading()), (None, Some("Other options")));
    }

    #[test]
    fn relations_and_messages_are_of_the_groups_own_options() {
        let error = command().try_get_matches_from(["test", "--other-left", "1", "--right", "2"]).unwrap_err();
        assert!(error.to_string().contains("--other-right"), "{error}");
        assert_eq!(Spelling::of::<Other>().option("left"), "--other-left");
        assert_eq!(
            (Spelling::of::<Other>().user(), Spelling::of::<Bare>().user()),
            ("--other-username".to_owned(), "-u".to_owned())
        );
    }
}
