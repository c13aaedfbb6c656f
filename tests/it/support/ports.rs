//! Loopback ports for the engines: free now, given out once, and safe to come back to.
//!
//! They come from below the kernel's ephemeral range. A broker that is stopped must find its port free when it starts
//! again, and no outgoing connection can take one of these meanwhile; nor can a client that retries the stopped
//! broker's port end up connected to itself.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    process,
    sync::Mutex,
};

const LOWEST: u16 = 10_000;

/// The port that was tried last. Test processes that run side by side start at different ones.
static LAST: Mutex<Option<u16>> = Mutex::new(None);

/// A loopback port that nobody listens on and that this process gives out once.
pub fn free() -> u16 {
    let above = ephemeral_start();
    let span = above - LOWEST;
    let mut last = LAST.lock().unwrap();
    for _ in 0..span {
        let next = match *last {
            Some(port) if port + 1 < above => port + 1,
            Some(_) => LOWEST,
            None => LOWEST + u16::try_from(process::id() * 101 % u32::from(span)).unwrap(),
        };
        *last = Some(next);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, next)).is_ok() {
            return next;
        }
    }
    panic!("no free loopback port between {LOWEST} and {above}");
}

/// `host:port` on loopback, for [`free`] ports.
pub fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn ephemeral_start() -> u16 {
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .filter(|start| *start > LOWEST + 1_000)
        .unwrap_or(32_768)
}
