//! `#[tool]`: makes a typed function a tool.
//!
//! The function stays as it is and can be called and tested as any other. Beside it, in the namespace of types, stands
//! an empty enum of the same name that implements `tollgate_plugin::Tool`; that is what `plugin!` is given.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{ToTokens, quote};
use syn::{
    Attribute, Expr, ExprArray, ExprLit, FnArg, ItemFn, Lit, LitStr, Meta, ReturnType, Token, Type,
    punctuated::Punctuated, spanned::Spanned,
};

/// Makes a function a tool. Its doc comment becomes the description that the model reads.
///
/// The function takes nothing, its arguments (an owned value that is `Deserialize` and `JsonSchema`), the invocation
/// (`&Invocation`), or both. It returns anything that is `tollgate_plugin::Output`, or a `Result` of it.
///
/// - `name = "..."`: the tool's name, where it is not the function's.
/// - `title = "..."`: a title for people.
/// - `uses = ["..."]`: names of the requirements that calls of this tool need (`"clock"`, `"random"`, or as declared).
/// - `read_only`, `destructive`, `idempotent`, `open_world`: hints on its effects.
#[proc_macro_attribute]
pub fn tool(attributes: TokenStream, item: TokenStream) -> TokenStream {
    let item_tokens = Tokens::from(item.clone());
    match expand(attributes, item) {
        Ok(tokens) => tokens.into(),
        Err(error) => {
            let error = error.to_compile_error();
            quote!(#error #item_tokens).into()
        }
    }
}

#[derive(Default)]
struct Options {
    name: Option<LitStr>,
    title: Option<LitStr>,
    uses: Vec<LitStr>,
    read_only: bool,
    destructive: bool,
    idempotent: bool,
    open_world: bool,
}

fn expand(attributes: TokenStream, item: TokenStream) -> syn::Result<Tokens> {
    let metas =
        syn::parse::Parser::parse(Punctuated::<Meta, Token![,]>::parse_terminated, attributes)?;
    let options = options(metas)?;
    let function: ItemFn = syn::parse(item)?;
    let signature = &function.sig;
    if let Some(asyncness) = &signature.asyncness {
        return Err(syn::Error::new(
            asyncness.span(),
            "a tool is not `async`: host calls block the instance, which is its own",
        ));
    }
    if !signature.generics.params.is_empty() {
        return Err(syn::Error::new(
            signature.generics.span(),
            "a tool has no generic parameters",
        ));
    }

    let description = documentation(&function.attrs);
    if description.is_empty() {
        return Err(syn::Error::new(
            signature.ident.span(),
            "a tool needs a doc comment: it is the description that the model reads",
        ));
    }

    // An owned parameter is the arguments, a borrowed one the invocation.
    let mut arguments: Option<&Type> = None;
    let mut invocation = false;
    let mut passed: Vec<Tokens> = Vec::new();
    for input in &signature.inputs {
        let FnArg::Typed(input) = input else {
            return Err(syn::Error::new(input.span(), "a tool is a free function"));
        };
        if matches!(&*input.ty, Type::Reference(_)) {
            if std::mem::replace(&mut invocation, true) {
                return Err(syn::Error::new(
                    input.span(),
                    "a tool takes one `&Invocation` at most",
                ));
            }
            passed.push(quote!(&invocation));
        } else {
            if arguments.replace(&input.ty).is_some() {
                return Err(syn::Error::new(
                    input.span(),
                    "a tool takes one arguments value at most: put them into a struct",
                ));
            }
            passed.push(quote!(arguments));
        }
    }

    let identifier = &signature.ident;
    let visibility = &function.vis;
    let name = options
        .name
        .map_or_else(|| identifier.to_string(), |name| name.value());
    let title = match options.title {
        Some(title) => quote!(::core::option::Option::Some(#title)),
        None => quote!(::core::option::Option::None),
    };
    let uses = &options.uses;
    let Options {
        read_only,
        destructive,
        idempotent,
        open_world,
        ..
    } = options;
    let output = match &signature.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, output) => output.to_token_stream(),
    };
    let arguments_type = arguments.map_or_else(
        || quote!(::tollgate_plugin::NoArguments),
        ToTokens::to_token_stream,
    );
    let bind_arguments = if arguments.is_some() {
        quote!(let arguments: #arguments_type = invocation.parse()?;)
    } else {
        Tokens::new()
    };
    let documentation = format!("The tool `{name}`, for `plugin!`.");

    Ok(quote! {
        #function

        #[doc = #documentation]
        #[allow(non_camel_case_types, reason = "it is named as its function is")]
        #visibility enum #identifier {}

        impl ::tollgate_plugin::Tool for #identifier {
            const NAME: &'static str = #name;
            const TITLE: ::core::option::Option<&'static str> = #title;
            const DESCRIPTION: &'static str = #description;
            const USES: &'static [&'static str] = &[#(#uses),*];
            const HINTS: ::tollgate_plugin::Hints = ::tollgate_plugin::Hints {
                read_only: #read_only,
                destructive: #destructive,
                idempotent: #idempotent,
                open_world: #open_world,
            };
            type Arguments = #arguments_type;
            type Output = #output;

            fn call(
                invocation: ::tollgate_plugin::Invocation,
            ) -> ::core::result::Result<::tollgate_plugin::Outcome, ::tollgate_plugin::Error> {
                #bind_arguments
                let output: #output = #identifier(#(#passed),*);
                ::tollgate_plugin::Output::into_outcome(output)
            }
        }
    })
}

fn options(metas: Punctuated<Meta, Token![,]>) -> syn::Result<Options> {
    let mut options = Options::default();
    for meta in metas {
        let name = meta
            .path()
            .get_ident()
            .map(ToString::to_string)
            .unwrap_or_default();
        match (name.as_str(), &meta) {
            ("read_only", Meta::Path(_)) => options.read_only = true,
            ("destructive", Meta::Path(_)) => options.destructive = true,
            ("idempotent", Meta::Path(_)) => options.idempotent = true,
            ("open_world", Meta::Path(_)) => options.open_world = true,
            ("name", Meta::NameValue(pair)) => options.name = Some(text(&pair.value)?),
            ("title", Meta::NameValue(pair)) => options.title = Some(text(&pair.value)?),
            ("uses", Meta::NameValue(pair)) => options.uses = texts(&pair.value)?,
            _ => {
                return Err(syn::Error::new(
                    meta.span(),
                    "expected `name = \"..\"`, `title = \"..\"`, `uses = [\"..\"]`, `read_only`, `destructive`, `idempotent` or `open_world`",
                ));
            }
        }
    }
    Ok(options)
}

fn text(value: &Expr) -> syn::Result<LitStr> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Ok(text.clone()),
        other => Err(syn::Error::new(other.span(), "expected a string literal")),
    }
}

fn texts(value: &Expr) -> syn::Result<Vec<LitStr>> {
    match value {
        Expr::Array(ExprArray { elems, .. }) => elems.iter().map(text).collect(),
        other => Err(syn::Error::new(
            other.span(),
            "expected a list of string literals, such as `[\"clock\"]`",
        )),
    }
}

/// The doc comment as one text: lines of a paragraph joined by spaces, paragraphs kept apart.
fn documentation(attributes: &[Attribute]) -> String {
    let mut paragraphs: Vec<String> = vec![String::new()];
    for attribute in attributes {
        let Meta::NameValue(pair) = &attribute.meta else {
            continue;
        };
        if !pair.path.is_ident("doc") {
            continue;
        }
        let Ok(line) = text(&pair.value) else {
            continue;
        };
        for line in line.value().split('\n').map(str::trim) {
            match paragraphs.last_mut() {
                Some(last) if !line.is_empty() => {
                    if !last.is_empty() {
                        last.push(' ');
                    }
                    last.push_str(line);
                }
                Some(last) if !last.is_empty() => paragraphs.push(String::new()),
                _ => {}
            }
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    paragraphs.join("\n\n")
}
