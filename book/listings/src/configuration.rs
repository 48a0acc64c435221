//! The listing of the page "Configuration".

use alloc::string::String;
use unikernel_blockfs::ConfigPartition;
use unikernel_http::Metadata;
use unikernel_net::Stack;
use unikernel_rt::{Config, Result, Secret, log::info};

/// An app that is told what to do by everybody who may.
// ANCHOR: config
pub async fn main(_: ConfigPartition, stack: Stack, metadata: Metadata, config: Config) -> Result {
    metadata.load(&stack).await?;
    let port: u16 = config.get("port")?.unwrap_or(8080);
    let database: String = config.env("DATABASE_URL")?.unwrap_or_else(|| "db.internal".into());
    let token: Secret = config.required("API_TOKEN")?;
    config.finish()?;
    info!("port {}, database {}, token {}", port, &*database, token);
    // `token.expose()` is the value.
    Ok(())
}
// ANCHOR_END: config
