//! What is said on the command line, and the seeds that are kept: of the proofs and of the simulation.

use crate::proof::Scope;

/// Reads the flags into `scope`; gives what `--only` names, a `what`.
pub fn flags(mut arguments: impl Iterator<Item = String>, scope: &mut Scope, what: &str) -> Result<Option<String>, String> {
    let mut only = None;
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok()).ok_or(format!("{argument} takes a number"));
        match argument.as_str() {
            "--full" => scope.full = true,
            "--seed" => scope.seed = Some(number()?),
            "--jobs" => scope.jobs = usize::try_from(number()?).map_or(1, |jobs| jobs.max(1)),
            "--only" => only = Some(arguments.next().ok_or(format!("--only takes the name of a {what}"))?),
            other => return Err(format!("there is no {other}; there are --full, --only NAME, --seed N, --jobs N")),
        }
    }
    Ok(only)
}

/// The seeds that are kept in `text`, which is the file `name`: a line has the name of a `what`, a seed, and words for people.
pub fn kept(text: &str, name: &str, what: &str) -> Result<Vec<(String, u64)>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let seed = |line: &str| {
        let (name, rest) = line.split_once(' ')?;
        Some((name.to_owned(), rest.split_whitespace().next()?.parse().ok()?))
    };
    lines.map(|line| seed(line).ok_or_else(|| format!("{name}: {line:?} is not a {what} and a seed"))).collect()
}
