//! Help and errors as people see them: what follows `$` in `transcripts/` is run, and must show what is written below it.
//! `TRYCMD=overwrite cargo test -p cargo-unikernel --test transcripts` writes it anew.
#![forbid(unsafe_code)]

#[test]
fn transcripts() {
    // Somebody who has neither images nor instances, and has said nothing in the environment.
    let home = tempfile::tempdir().unwrap();
    let home = home.path().to_str().unwrap();
    let cases = trycmd::TestCases::new();
    for name in ["HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"] {
        cases.env(name, home);
    }
    for (name, value) in [("UNIKERNEL_PROVIDER", "local"), ("UNIKERNEL_ACCEL", "tcg")] {
        cases.env(name, value);
    }
    cases.case("tests/transcripts/*.trycmd");
}
