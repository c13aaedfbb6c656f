//! The rules of `docs/buffer-format.md`, "What is synced before what", put to the system calls of a run. Pure.
//!
//! The bytes are read here as that page describes them, with no help from the code that wrote them.

use std::collections::HashMap;

use super::trace::Call;

/// What an audit looked at, and what was wrong.
#[derive(Debug, Default)]
pub struct Findings {
    /// 202 answers whose bytes were looked for.
    pub answers: usize,
    /// Segments freed whose seal was seen.
    pub freed: usize,
    /// Segments begun whose preparation was seen.
    pub begun: usize,
    pub wrong: Vec<String>,
}

/// A frame in a write.
struct Stored<'a> {
    first_seq: u64,
    next_seq: u64,
    write: &'a Call,
}

/// Puts the rules to a trace of a buffer in `dir`.
pub fn audit(calls: &[Call], dir: &str) -> Findings {
    let calls: Vec<&Call> = calls.iter().filter(|call| call.result >= 0).collect();
    let mut findings = Findings::default();
    answers_follow_syncs(&calls, dir, &mut findings);
    frees_follow_cursors(&calls, dir, &mut findings);
    frames_follow_names(&calls, dir, &mut findings);
    findings
}

/// Rule 2: an answer says "synced".
fn answers_follow_syncs(calls: &[&Call], dir: &str, findings: &mut Findings) {
    let stored: Vec<Stored<'_>> = calls.iter().filter(|call| is_segment(&call.path, dir)).flat_map(|call| frames(call)).collect();
    for answer in calls.iter().filter(|call| ["sendto", "sendmsg", "write", "writev"].contains(&call.name.as_str())) {
        let data = answer.data();
        if !data.starts_with(b"HTTP/1.1 202") {
            continue;
        }
        findings.answers += 1;
        let text = String::from_utf8_lossy(&data);
        let (Some(first), Some(last)) = (number_after(&text, "\"first_seq\":"), number_after(&text, "\"last_seq\":")) else {
            findings.wrong.push(format!("line {}: a 202 without seqs: {text}", answer.entered));
            continue;
        };
        let covering = stored.iter().filter(|frame| frame.first_seq <= first && last < frame.next_seq);
        if !covering.into_iter().any(|frame| synced_between(calls, &frame.write.path, frame.write.left, answer.entered)) {
            findings.wrong.push(format!("line {}: seqs {first} to {last} were answered before a sync of their bytes", answer.entered));
        }
    }
}

/// Rule 5: a segment is freed by a cursor that is on disk.
fn frees_follow_cursors(calls: &[&Call], dir: &str, findings: &mut Findings) {
    let cursor = format!("{dir}/cursor");
    let mut last_seqs: HashMap<String, u64> = HashMap::new();
    for call in calls {
        if let Some(last_seq) = seal(call, dir) {
            let _ = last_seqs.insert(call.path.clone(), last_seq);
        }
        let is_gone = call.name.starts_with("rename") || call.name.starts_with("unlink");
        let Some(name) = call.strings.first().map(|name| String::from_utf8_lossy(name).into_owned()).filter(|_| is_gone) else { continue };
        // Not seen in this trace: sealed, or given to another name, before it began.
        let Some(last_seq) = last_seqs.remove(&name) else { continue };
        findings.freed += 1;
        let passed = |write: &&&Call| frontier(write).is_some_and(|frontier| frontier >= last_seq);
        let mut written = calls.iter().filter(|write| write.path == cursor && write.left < call.entered).filter(passed);
        if !written.any(|write| synced_between(calls, &cursor, write.left, call.entered)) {
            findings.wrong.push(format!("line {}: {name} was freed before a cursor beyond seq {last_seq} was on disk", call.entered));
        }
    }
}

/// Rule 1: header and name of a segment before its first frame.
fn frames_follow_names(calls: &[&Call], dir: &str, findings: &mut Findings) {
    for first in calls.iter().filter(|call| is_segment(&call.path, dir) && call.last_number() == Some(8192) && !frames(call).is_empty()) {
        let is_naming =
            |call: &&&Call| call.name.starts_with("rename") && call.strings.last().is_some_and(|to| *to == first.path.as_bytes());
        let Some(naming) = calls.iter().filter(|call| call.left < first.entered).rfind(is_naming) else { continue };
        findings.begun += 1;
        if !synced_between(calls, dir, naming.left, first.entered) {
            findings.wrong.push(format!("line {}: {} has a frame before its name was synced", first.entered, first.path));
        }
        let from = String::from_utf8_lossy(&naming.strings[0]).into_owned();
        let is_header = |call: &&&Call| call.path == from && call.last_number() == Some(0) && call.data().starts_with(b"DSTRMSEG");
        let header = calls.iter().filter(|call| call.left < naming.entered).rfind(is_header);
        if !header.is_some_and(|header| synced_between(calls, &from, header.left, naming.entered)) {
            findings.wrong.push(format!("line {}: {} got its name before its header was synced", naming.entered, first.path));
        }
    }
}

/// Whether a successful sync of `path` began after `after` and ended before `before`.
fn synced_between(calls: &[&Call], path: &str, after: usize, before: usize) -> bool {
    let mut syncs =
        calls.iter().filter(|call| ["fdatasync", "fsync"].contains(&call.name.as_str()) && call.path == path && call.result == 0);
    syncs.any(|sync| sync.entered > after && sync.left < before)
}

fn is_segment(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|name| name.starts_with("/seg-"))
}

/// The frames of events that a write holds: it begins with one, or with none.
fn frames(write: &Call) -> Vec<Stored<'_>> {
    let mut found = Vec::new();
    if write.name != "pwrite64" {
        return found;
    }
    let data = write.data();
    let mut rest = data.as_slice();
    while rest.starts_with(b"DSF1") && rest.len() >= 56 {
        let (first_seq, count, length) = (u64_at(rest, 8), u64::from(u32_at(rest, 32)), u32_at(rest, 36) as usize);
        if rest[48] == 1 {
            found.push(Stored { first_seq, next_seq: first_seq + count, write });
        }
        rest = rest.get(56 + length.next_multiple_of(8)..).unwrap_or_default();
    }
    found
}

/// The last seq of a seal, if the write is one.
fn seal(call: &Call, dir: &str) -> Option<u64> {
    let is_seal = call.name == "pwrite64" && is_segment(&call.path, dir) && call.last_number() == Some(4096);
    let data = is_seal.then(|| call.data())?;
    (data.starts_with(b"DSTRMEND") && data.len() >= 32).then(|| u64_at(&data, 24))
}

/// The frontier that a cursor write says: a varint behind the header and the relay-id.
fn frontier(write: &Call) -> Option<u64> {
    let data = write.data();
    let body = data.get(48..).filter(|_| data.starts_with(b"DSTRMCUR"))?;
    let length = body.iter().position(|byte| byte & 0x80 == 0)? + 1;
    Some(body[..length].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f)))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let rest = text.split_once(name)?.1;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{super::trace::parse, *};

    fn digit(value: u8) -> char {
        char::from(b'0' + value)
    }

    /// Bytes as octal escapes.
    fn escaped(bytes: &[u8]) -> String {
        bytes.iter().flat_map(|byte| ['\\', digit(byte >> 6), digit(byte >> 3 & 7), digit(byte & 7)]).collect()
    }

    fn frame(first_seq: u64, count: u32) -> String {
        let mut bytes = [0_u8; 56];
        bytes[..4].copy_from_slice(b"DSF1");
        bytes[8..16].copy_from_slice(&first_seq.to_le_bytes());
        bytes[32..36].copy_from_slice(&count.to_le_bytes());
        bytes[48] = 1;
        escaped(&bytes)
    }

    fn cursor(frontier: u8) -> String {
        let mut bytes = [0_u8; 60];
        bytes[..8].copy_from_slice(b"DSTRMCUR");
        bytes[48] = frontier;
        escaped(&bytes)
    }

    fn good() -> Vec<String> {
        let mut seal = [0_u8; 68];
        seal[..8].copy_from_slice(b"DSTRMEND");
        seal[24] = 5;
        vec![
            "1 pwrite64(3</d/spare-2.log>, \"DSTRMSEG\", 8, 0) = 8".into(),
            "1 fdatasync(3</d/spare-2.log>) = 0".into(),
            "1 rename(\"/d/spare-2.log\", \"/d/seg-2.log\") = 0".into(),
            "1 fsync(4</d>) = 0".into(),
            format!("2 pwrite64(3</d/seg-2.log>, \"{}\", 56, 8192) = 56", frame(1, 5)),
            "2 fdatasync(3</d/seg-2.log>) = 0".into(),
            "3 sendto(9<socket:[1]>, \"HTTP/1.1 202 Accepted\\r\\n\\r\\n{\\\"first_seq\\\":1,\\\"last_seq\\\":5,\", 9, 0, NULL, 0) = 9"
                .into(),
            format!("2 pwrite64(3</d/seg-2.log>, \"{}\", 68, 4096) = 68", escaped(&seal)),
            format!("1 pwrite64(5</d/cursor>, \"{}\", 60, 65536) = 60", cursor(5)),
            "1 fdatasync(5</d/cursor>) = 0".into(),
            "1 rename(\"/d/seg-2.log\", \"/d/spare-2.log\") = 0".into(),
        ]
    }

    fn wrong(lines: &[String]) -> Vec<String> {
        audit(&parse(&lines.join("\n")), "/d").wrong
    }

    // Goal: the audit finds nothing in a run that keeps the rules, and looks at all of it.
    #[test]
    fn a_good_run_is_good() {
        let findings = audit(&parse(&good().join("\n")), "/d");
        assert_eq!((findings.answers, findings.freed, findings.begun, findings.wrong), (1, 1, 1, Vec::new()));
    }

    // Goal: each missing sync, and each that fails or comes late, is found.
    #[test]
    fn a_sync_that_is_missing_or_late_is_found() {
        for (sync, complaint) in [
            (1, "got its name before its header was synced"),
            (3, "has a frame before its name was synced"),
            (5, "answered before a sync"),
            (9, "was freed before a cursor"),
        ] {
            let mut missing = good();
            let line = missing.remove(sync);
            assert!(matches!(wrong(&missing).as_slice(), [only] if only.contains(complaint)), "{complaint}: {:?}", wrong(&missing));
            let mut failed = good();
            failed[sync] = line.replace("= 0", "= -1 EIO (Input/output error)");
            assert!(wrong(&failed).iter().any(|found| found.contains(complaint)), "{complaint}");
            let mut late = good();
            late.swap(sync, sync + 1);
            assert!(wrong(&late).iter().any(|found| found.contains(complaint)), "{complaint}");
        }
        let mut behind = good();
        behind[8] = behind[8].replace(&cursor(5), &cursor(4));
        assert!(wrong(&behind).iter().any(|found| found.contains("beyond seq 5")));
        let mut other = good();
        other[6] = other[6].replace("last_seq\\\":5", "last_seq\\\":6");
        assert!(wrong(&other).iter().any(|found| found.contains("1 to 6")));
    }
}
