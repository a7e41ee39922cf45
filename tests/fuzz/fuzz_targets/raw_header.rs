//! The header of a raw dump. The first eight bytes of the input are the length of the file, the others its beginning.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((length, start)) = input.split_first_chunk() else { return };
    if let Some(Err(error)) = atomscope::raw::header::read_header(start, u64::from_le_bytes(*length)) {
        assert!(!error.to_string().is_empty());
    }
});
