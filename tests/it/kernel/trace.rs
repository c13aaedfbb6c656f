//! What strace wrote, as calls that can be compared: which ended before which began.

/// One system call. The numbers are lines of the trace: strace holds a thread at each entry and exit until the line is written, so a call
/// whose end stands before another's beginning did end before that one began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub entered: usize,
    pub left: usize,
    pub name: String,
    /// The path of the first argument when it is a file descriptor.
    pub path: String,
    /// All strings among the arguments, in order.
    pub strings: Vec<Vec<u8>>,
    /// The arguments as they were written.
    pub arguments: String,
    pub result: i64,
}

impl Call {
    /// The numbers that end the arguments, such as size and offset of a `pwrite64`.
    pub fn last_number(&self) -> Option<u64> {
        self.arguments.rsplit(", ").next()?.parse().ok()
    }

    /// All strings, one after the other: a `writev` may cut a text anywhere.
    pub fn data(&self) -> Vec<u8> {
        self.strings.concat()
    }
}

/// Reads a trace made with `-f -y`. Calls that never returned are left out.
pub fn parse(text: &str) -> Vec<Call> {
    let mut begun: Vec<(&str, usize, String)> = Vec::new();
    let mut calls = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(start) = rest.strip_suffix(" <unfinished ...>") {
            begun.push((thread, number, start.to_owned()));
        } else if let Some(end) = rest.strip_prefix("<... ").and_then(|rest| Some(rest.split_once(" resumed>")?.1)) {
            let Some(at) = begun.iter().position(|(other, ..)| *other == thread) else { continue };
            let (_, entered, start) = begun.remove(at);
            calls.extend(call(&format!("{start}{end}"), entered, number));
        } else {
            calls.extend(call(rest, number, number));
        }
    }
    calls.sort_by_key(|call| call.left);
    calls
}

/// `name(arguments) = result`
fn call(text: &str, entered: usize, left: usize) -> Option<Call> {
    let (before, result) = text.rsplit_once(" = ")?;
    let (name, arguments) = before.trim_end().strip_suffix(')')?.split_once('(')?;
    let result = result.split_whitespace().next()?.parse().ok()?;
    let path = arguments.split_once('<').filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()));
    let path = path.and_then(|(_, rest)| Some(rest.split_once('>')?.0)).unwrap_or_default().to_owned();
    Some(Call { entered, left, name: name.to_owned(), path, strings: strings(arguments), arguments: arguments.to_owned(), result })
}

fn strings(arguments: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut bytes = arguments.bytes().peekable();
    while bytes.any(|byte| byte == b'"') {
        let mut text = Vec::new();
        while let Some(byte) = bytes.next().filter(|byte| *byte != b'"') {
            if byte != b'\\' {
                text.push(byte);
                continue;
            }
            text.push(match bytes.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'f') => 0x0c,
                Some(b'v') => 0x0b,
                Some(digit @ b'0'..=b'7') => {
                    let mut value = u32::from(digit - b'0');
                    for _ in 0..2 {
                        if let Some(digit) = bytes.next_if(|byte| (b'0'..=b'7').contains(byte)) {
                            value = value * 8 + u32::from(digit - b'0');
                        }
                    }
                    u8::try_from(value).expect("an octal escape is a byte")
                }
                Some(other) => other,
                None => break,
            });
        }
        found.push(text);
    }
    found
}

// Goal: the audit below sees what really happened, also where threads interleave.
#[test]
fn a_trace_is_read_as_it_was_written() {
    let text = concat!(
        "12 pwrite64(7</d/seg-1.log>, \"DSF1\\0\\1a\\377\\\"\\\\\\n\\0011\", 4096, 8192) = 4096\n",
        "12 fdatasync(7</d/seg-1.log> <unfinished ...>\n",
        "13 sendto(9<socket:[5]>, \"HTTP/1.1 202 Accepted\\r\\n\", 25, MSG_NOSIGNAL, NULL, 0) = 25\n",
        "12 <... fdatasync resumed>)                = 0\n",
        "14 writev(9<socket:[5]>, [{iov_base=\"ab\", iov_len=2}, {iov_base=\"c\", iov_len=1}], 2) = 3\n",
        "14 rename(\"/d/a\", \"/d/b\") = -1 ENOENT (No such file or directory)\n",
        "14 --- SIGTERM {si_signo=SIGTERM} ---\n",
        "14 +++ exited with 0 +++\n",
        "15 fsync(8</d> <unfinished ...>\n",
    );
    let calls = parse(text);
    let names: Vec<_> = calls.iter().map(|call| (call.name.as_str(), call.entered, call.left, call.result)).collect();
    assert_eq!(names, [("pwrite64", 0, 0, 4096), ("sendto", 2, 2, 25), ("fdatasync", 1, 3, 0), ("writev", 4, 4, 3), ("rename", 5, 5, -1)]);
    assert_eq!(calls[0].strings, [b"DSF1\0\x01a\xff\"\\\n\x011".to_vec()]);
    assert_eq!((calls[0].path.as_str(), calls[0].last_number()), ("/d/seg-1.log", Some(8192)));
    assert_eq!(calls[3].data(), b"abc");
    assert_eq!(calls[4].strings, [b"/d/a".to_vec(), b"/d/b".to_vec()]);
}
