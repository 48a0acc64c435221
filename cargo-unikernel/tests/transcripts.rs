//! Help and errors as people see them: what follows `$` in `transcripts/` is run, and must show what is written below it.
//! `TRYCMD=overwrite cargo test -p cargo-unikernel --test transcripts` writes it anew.
#![forbid(unsafe_code)]

#[test]
fn transcripts() {
    trycmd::TestCases::new().case("tests/transcripts/*.trycmd");
}
