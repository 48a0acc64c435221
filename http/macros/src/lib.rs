//! The macro of `unikernel-http`: [`include_dir!`] compiles a folder into the image.
//!
//! Everything that can be known of a file is worked out here, down to the header lines, so that serving it takes a
//! look-up and a copy.

mod date;
mod folder;

use folder::{File, Variant};
use proc_macro::TokenStream;
use quote::quote;
use std::path::PathBuf;
use syn::LitStr;

/// Compiles a folder into the image: a `unikernel_http::Dir`, for `ServeDir::embedded`.
///
/// The path is relative to the package's folder; `$OUT_DIR/…` is what its build script made.
///
/// - Names that start with a dot are left out, except `.well-known`.
/// - `NAME.gz` and `NAME.br` beside `NAME` are sent in its place to clients that take them.
/// - `Last-Modified` is the file's time, or `SOURCE_DATE_EPOCH` where that is set, for reproducible images.
///
/// Cargo notices files that change; files that come or go only with a build script that prints
/// `cargo::rerun-if-changed=FOLDER`.
///
/// ```text
/// static SITE: Dir = include_dir!("site");
/// ```
#[proc_macro]
pub fn include_dir(input: TokenStream) -> TokenStream {
    let path = syn::parse_macro_input!(input as LitStr);
    match resolve(&path.value()).and_then(|root| folder::read(&root)) {
        Ok(files) => {
            let files = files.iter().map(file_tokens);
            quote!(::unikernel_http::Dir::new(&[#(#files),*])).into()
        }
        Err(problem) => syn::Error::new(path.span(), problem).to_compile_error().into(),
    }
}

fn resolve(path: &str) -> Result<PathBuf, String> {
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set; is there a build script?"));
    match path.strip_prefix("$OUT_DIR") {
        Some(rest) => Ok(PathBuf::from(variable("OUT_DIR")?).join(rest.trim_start_matches('/'))),
        None => Ok(PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join(path)),
    }
}

fn file_tokens(file: &File) -> proc_macro2::TokenStream {
    let (path, modified) = (&file.path, file.modified);
    let last_modified = date::format(modified);
    let variants = file.variants.iter().map(|variant| variant_tokens(file, variant, &last_modified));
    quote! {
        ::unikernel_http::__private::File { path: #path, modified: #modified, variants: &[#(#variants),*] }
    }
}

fn variant_tokens(file: &File, variant: &Variant, last_modified: &str) -> proc_macro2::TokenStream {
    let (source, coding, etag) = (&variant.source, variant.coding, &variant.etag);
    let mut lines = format!(
        "Content-Type: {}\r\nETag: {etag}\r\nLast-Modified: {last_modified}\r\nAccept-Ranges: bytes\r\n",
        unikernel_http_content_type::of(&file.path),
    );
    if file.variants.len() > 1 {
        lines.push_str("Vary: Accept-Encoding\r\n");
    }
    if !coding.is_empty() {
        lines.push_str(&format!("Content-Encoding: {coding}\r\n"));
    }
    quote! {
        ::unikernel_http::__private::Variant {
            coding: #coding, etag: #etag, lines: #lines, bytes: include_bytes!(#source),
        }
    }
}
