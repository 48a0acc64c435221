//! The image with every protection; with the feature `unprotected` the boot argument `unprotected=LIST` turns them off.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

#[unikernel_rt::main]
async fn main(args: unikernel_rt::Args) -> unikernel_rt::Result {
    selftest::run(args).await
}
