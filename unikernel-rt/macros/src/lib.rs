//! The attributes of `unikernel-rt`: [`main`](macro@main) and [`test`](macro@test).
//!
//! They check the signature, say in plain words what is wrong with it, and leave the rest to `macro_rules!` of
//! the runtime, whose tokens may hold the unsafe attributes that an app may not.

use proc_macro::TokenStream;
use quote::{format_ident, quote};
use syn::{Error, FnArg, ItemFn, Result, parse_macro_input, spanned::Spanned};

/// Makes an async function the app: its arguments are the machine's devices.
///
/// Every argument's type implements `unikernel_rt::Acquire`; the function returns nothing or a
/// `unikernel_rt::Result`. When it returns, the machine ends.
///
/// ```text
/// #[unikernel_rt::main]
/// async fn main(stack: Stack) -> unikernel_rt::Result { … }
/// ```
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    finish(expand_main(arguments.into(), &function), &function)
}

/// Makes an async function a test: a `#[test]` in virtual time on the host, a test of the harness in the
/// virtual machine.
///
/// `#[unikernel_rt::test(args = "key=value …")]` gives it a command line on the host.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    finish(expand_test(arguments.into(), &function), &function)
}

/// On an error the function stays in the program, so that one mistake is one message.
fn finish(expanded: Result<proc_macro2::TokenStream>, function: &ItemFn) -> TokenStream {
    expanded
        .unwrap_or_else(|error| {
            let message = error.to_compile_error();
            quote!(#message #[allow(dead_code)] #function)
        })
        .into()
}

fn expand_main(arguments: proc_macro2::TokenStream, function: &ItemFn) -> Result<proc_macro2::TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new(arguments.span(), "`#[unikernel_rt::main]` takes no arguments"));
    }
    check_shape(function, "main")?;
    let name = &function.sig.ident;
    let mut names = Vec::new();
    let mut types = Vec::new();
    for (number, input) in function.sig.inputs.iter().enumerate() {
        let FnArg::Typed(input) = input else {
            return Err(Error::new(input.span(), "`main` is a free function: it has no `self`"));
        };
        names.push(format_ident!("argument_{number}"));
        types.push(&input.ty);
    }
    Ok(quote! {
        // The hosted tests of an app need not call its `main`.
        #[cfg_attr(not(target_os = "none"), allow(dead_code))]
        #function
        ::unikernel_rt::__entry!(#name, [#(#names: #types),*]);
    })
}

fn expand_test(arguments: proc_macro2::TokenStream, function: &ItemFn) -> Result<proc_macro2::TokenStream> {
    check_shape(function, "a test")?;
    if let Some(input) = function.sig.inputs.first() {
        return Err(Error::new(input.span(), "a test has no arguments; make what it needs inside it"));
    }
    let args = if arguments.is_empty() {
        String::new()
    } else {
        let argument: syn::MetaNameValue = syn::parse2(arguments)?;
        match &argument.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) if argument.path.is_ident("args") => {
                text.value()
            }
            _ => return Err(Error::new(argument.span(), "write `#[unikernel_rt::test(args = \"key=value\")]`")),
        }
    };
    let name = &function.sig.ident;
    let (attributes, signature, body) = (&function.attrs, &function.sig, &function.block);
    Ok(quote! {
        ::unikernel_rt::__test! {
            #name, #args, [#(#attributes)*], { #signature #body }
        }
    })
}

fn check_shape(function: &ItemFn, what: &str) -> Result<()> {
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        return Err(Error::new(signature.fn_token.span(), format!("{what} is an async function: write `async fn`")));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new(signature.generics.span(), format!("{what} cannot be generic")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{expand_main, expand_test, quote};

    fn check_main(function: &str, expected: &str) {
        let function = syn::parse_str(function).expect("a function");
        let error = expand_main(proc_macro2::TokenStream::new(), &function).expect_err("a wrong signature");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn wrong_signatures_are_explained() {
        check_main("fn main() {}", "main is an async function: write `async fn`");
        check_main("async fn main<T>(device: T) {}", "main cannot be generic");
        check_main("async fn main(self) {}", "`main` is a free function: it has no `self`");
    }

    #[test]
    fn wrong_tests_are_explained() {
        let function = syn::parse_str("async fn name(stack: Stack) {}").expect("a function");
        let error = expand_test(proc_macro2::TokenStream::new(), &function).expect_err("a test with arguments");
        assert_eq!(error.to_string(), "a test has no arguments; make what it needs inside it");
        let function = syn::parse_str("async fn name() {}").expect("a function");
        let error = expand_test(quote!(arg = 1), &function).expect_err("an unknown argument");
        assert_eq!(error.to_string(), "write `#[unikernel_rt::test(args = \"key=value\")]`");
    }
}
