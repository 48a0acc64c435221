//! What an app is told, by which source, and what of it is wrong.

use unikernel_rt::{
    Acquire, Config, Machine, Result, Secret, args,
    config::{Source, add, env},
    log::tail::Tail,
};

fn texts(fw_cfg: &str, partition: &str, metadata: &str) -> Result {
    add(Source::FwCfg, fw_cfg.as_bytes())?;
    add(Source::Partition, partition.as_bytes())?;
    add(Source::Metadata, metadata.as_bytes())
}

async fn config() -> Config {
    Config::acquire(&mut Machine::new()).await.expect("it is always there")
}

#[unikernel_rt::test(args = "env.A=line a=line")]
async fn earlier_sources_count() -> Result {
    texts(
        "env.A=f\nenv.B=f\na=f\nb=f\n",
        "env.A=p\nenv.B=p\nenv.C=p\na=p\nb=p\nc=p\n",
        "env.A=m\nenv.B=m\nenv.C=m\nenv.D=m\na=m\nb=m\nc=m\nd=m\nd=last\n",
    )?;
    let config = config().await;
    let env = |name| config.env::<String>(name).unwrap().unwrap_or("default".into());
    assert_eq!([env("A"), env("B"), env("C"), env("D"), env("E")], ["line", "f", "p", "m", "default"]);
    let get = |key| config.get::<String>(key).unwrap().unwrap_or("default".into());
    assert_eq!([get("a"), get("b"), get("c"), get("d"), get("e")], ["line", "f", "p", "last", "default"]);
    // A source that is read later must not win, in whatever order they are read.
    config.finish()
}

#[unikernel_rt::test]
async fn the_order_of_reading_does_not_matter() -> Result {
    add(Source::Metadata, b"a=m")?;
    add(Source::Partition, b"a=p")?;
    assert_eq!(args::take::<String>("a")?.as_deref(), Some("p"));
    // What counts is known, so this is of no effect and no error.
    add(Source::Metadata, b"a=again")?;
    config().await.finish()
}

#[unikernel_rt::test(args = "b")]
async fn what_comes_too_late_is_refused() -> Result {
    let config = config().await;
    assert_eq!(config.get::<u16>("a")?, None);
    assert!(config.flag("b")?);
    let late = add(Source::Partition, b"a=1").unwrap_err().to_string();
    assert_eq!(
        late,
        "the boot argument `a` in the config partition comes too late: it was asked for before that was read; give it on \
         the command line or by fw_cfg"
    );
    add(Source::Partition, b"b")?;
    config.finish()
}

/// Whoever runs machines writes something before `--`, whatever the machine is.
#[unikernel_rt::test(args = "ip=10.0.0.2/24 gateway=10.0.0.1 env.B=1 a=platform b -- -- a=own")]
async fn what_stands_before_the_separator_need_not_be_understood() {
    let config = config().await;
    assert_eq!(config.get::<String>("a").unwrap().as_deref(), Some("own"));
    assert!(config.flag("b").unwrap());
    config.finish().unwrap();
    let mut tail = Tail::from_oldest();
    let lines: Vec<_> = std::iter::from_fn(|| tail.read_record()).map(|record| record.message).collect();
    let told = |key: &str| {
        lines.iter().any(|line| line == &format!("the boot argument `{key}` before `--` is of no use here"))
    };
    assert!(told("ip") && told("gateway") && told("B") && !told("a") && !told("b"), "{lines:?}");
}

#[unikernel_rt::test(args = "ip=10.0.0.2/24 -- prot=80")]
async fn what_stands_behind_the_separator_must_be_understood() {
    let error = config().await.finish().unwrap_err().to_string();
    assert!(error.starts_with("unknown boot argument `prot`; this image understands: "), "{error}");
}

/// The error of `finish` when `port`, `verbose` and the variable `TOKEN` were asked for.
async fn check_unknown(source: Source, text: &str, expected: &str) {
    add(source, text.as_bytes()).unwrap();
    let config = config().await;
    config.get::<u16>("port").unwrap();
    config.flag("verbose").unwrap();
    config.env::<Secret>("TOKEN").unwrap();
    let error = config.finish().unwrap_err().to_string();
    // What the runtime asks for is known, too.
    assert_eq!(error.replace("stop-timeout, log, ", ""), expected);
}

#[unikernel_rt::test]
async fn an_unknown_argument_is_named_with_what_was_meant() {
    let expected =
        "unknown boot argument `prot` (from fw_cfg); did you mean `port`? this image understands: port, verbose";
    check_unknown(Source::FwCfg, "prot=80", expected).await;
}

#[unikernel_rt::test]
async fn an_unknown_variable_is_named_without_its_value() {
    let expected = "unknown environment variable `TOKNE` (from the metadata service); did you mean `TOKEN`? this image understands: TOKEN";
    check_unknown(Source::Metadata, "env.TOKNE=hunter2", expected).await;
}

#[unikernel_rt::test]
async fn a_variable_is_no_argument() {
    let expected = "unknown environment variable `port` (from the config partition); this image understands: TOKEN";
    check_unknown(Source::Partition, "env.port=80", expected).await;
}

#[unikernel_rt::test(args = "env.N=hunter2")]
async fn errors_do_not_show_values() {
    let config = config().await;
    let error = config.env::<u16>("N").unwrap_err().to_string();
    assert_eq!(error, "environment variable `N` (from the command line): invalid digit found in string");
    let error = config.required::<u16>("M").unwrap_err().to_string();
    assert!(
        error
            .starts_with("this unikernel needs the environment variable `M`; start it with `cargo unikernel run --env")
    );
    config.finish().unwrap();
}

#[unikernel_rt::test(args = "env.N=hunter2")]
async fn a_secret_is_shown_to_nobody() {
    let config = config().await;
    let secret = config.required::<Secret>("N").unwrap();
    assert_eq!((secret.expose(), &*format!("{secret} {secret:?}")), ("hunter2", "*** ***"));
    config.finish().unwrap();
    // The runtime keeps nothing of it.
    assert_eq!(env::<Secret>("N").unwrap(), None);
}
