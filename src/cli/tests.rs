//! The command line as a user types it.

use super::*;
use clap::error::ErrorKind;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

fn each_command(command: &clap::Command, visit: &mut impl FnMut(&clap::Command)) {
    visit(command);
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        each_command(sub, visit);
    }
}

// Goal: the definition of the command line has no contradiction in it.
#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

// Goal: nobody has to read a manual for the usual call: every command shows examples, and says what it is about.
#[test]
fn every_command_has_examples() {
    each_command(&Cli::command(), &mut |command| {
        let help = command.clone().render_long_help().to_string();
        let name = command.get_name();
        assert!(help.contains("Examples:\n  "), "{name} has no examples");
        assert!(command.get_about().is_some(), "{name} does not say what it is about");
    });
}

// Goal: the examples in the help are calls that work.
#[test]
fn examples_parse() {
    let mut seen = 0;
    each_command(&Cli::command(), &mut |command| {
        let help = command.clone().term_width(0).render_long_help().to_string();
        for line in help.lines().map(str::trim).filter(|line| line.starts_with("dualstream ")) {
            // What stands after two spaces explains; what stands after a pipe or redirection is the shell's.
            let call = line.split("  ").next().unwrap_or_default().split([' '; 1]).take_while(|word| !["|", ">", "<"].contains(word));
            if let Err(error) = Cli::try_parse_from(call) {
                panic!("{line}: {error}");
            }
            seen += 1;
        }
    });
    assert!(seen > 20, "{seen}");
}

// Goal: usual calls mean what they say.
#[test]
fn calls() {
    for line in [
        "dualstream run",
        "dualstream run -c relay.toml --set buffer.max_bytes=1GiB --set log.level=debug --brokers h:9092 --topic t",
        "dualstream run --redis-url redis://h --dir /d --listen 127.0.0.1:1",
        "dualstream check --connect --json",
        "dualstream status --socket /run/ops.sock --timeout 250ms",
        "dualstream stat --json",
        "dualstream send --type t --source-type u --source-id 1 --ack kafka --timeout 2s --retry 3 --url http://127.0.0.1:7410",
        "dualstream send --batch 10",
        "dualstream healthcheck --live",
        "dualstream buffer info --dir /d",
        "dualstream buffer peek --from 5 --limit 10 --source user/1",
        "dualstream buffer export --from-seq 5 --to-seq 9 -n 10 --source user/1 -o f --dir /d",
        "dualstream buffer verify --dir /d --json",
        "dualstream buffer repair --config relay.toml --yes --delete",
        "dualstream buffer purge --to-seq 5 --dry-run",
        "dualstream buffer purge --source user/1 --older-than 1h --yes --url h:1 --token-file /t",
        "dualstream drain-only --dir /d --brokers h:9092 --topic t --timeout 10m",
        "dualstream config-reference --format toml",
        "dualstream completions zsh",
        "dualstream man",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

// Goal: wrong usage is refused with exit code 2 and, for a slip of the hand, with the right word.
#[test]
fn wrong_calls() {
    for (line, kind, says) in [
        ("dualstream", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, "Usage"),
        ("dualstream statsu", ErrorKind::InvalidSubcommand, "status"),
        ("dualstream run --broker h", ErrorKind::UnknownArgument, "--brokers"),
        ("dualstream send --type t", ErrorKind::MissingRequiredArgument, "--source-type"),
        ("dualstream send --payload {}", ErrorKind::MissingRequiredArgument, "--type"),
        ("dualstream send --type t --source-type u --source-id 1 --ack disk", ErrorKind::InvalidValue, "buffered"),
        ("dualstream send --timeout 5", ErrorKind::ValueValidation, "number with a unit"),
        ("dualstream status --url https://h:1", ErrorKind::ValueValidation, "http://host:port"),
        ("dualstream status --url h:1 --socket /s", ErrorKind::ArgumentConflict, "--socket"),
        ("dualstream buffer info --dir /d --socket /s", ErrorKind::ArgumentConflict, "--socket"),
        ("dualstream buffer purge --yes", ErrorKind::MissingRequiredArgument, "--all"),
        ("dualstream buffer purge --all --to-seq 5", ErrorKind::ArgumentConflict, "--all"),
        ("dualstream buffer repair --yes --dry-run", ErrorKind::ArgumentConflict, "--dry-run"),
        ("dualstream drain-only --listen h:1", ErrorKind::UnknownArgument, "--listen"),
        ("dualstream healthcheck --live --started", ErrorKind::ArgumentConflict, "--started"),
    ] {
        let error = parse(line).unwrap_err();
        assert_eq!(error.kind(), kind, "{line}: {error}");
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(says), "{line}: {error}");
    }
}

// Goal: scripts can rely on the numbers.
#[test]
fn exit_codes() {
    let codes = [Exit::Done, Exit::Failed, Exit::Usage, Exit::Unreachable, Exit::Damaged, Exit::LeftOnDisk].map(|exit| exit as u8);
    assert_eq!(codes, [0, 1, 2, 3, 4, 5]);
}
