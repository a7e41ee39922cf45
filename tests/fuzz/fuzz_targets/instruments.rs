#![no_main]

#[path = "../../../layout/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| support::hostile::instruments(input));
