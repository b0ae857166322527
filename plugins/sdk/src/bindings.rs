//! What `wit-bindgen` makes of `wit/`. Plugins go through the modules of this crate; the raw bindings are public for
//! tests that need to misbehave in ways that those modules don't offer.
//!
//! On a target that is not WebAssembly the imports are functions that panic, so that a plugin's logic can be tested natively.
#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    reason = "generated"
)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "plugin",
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "tollgate_plugin::bindings",
    generate_unused_types: true,
});

/// An optional export, a world of its own.
pub mod prompting {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "prompting",
        with: { "tollgate:plugin/types@0.1.0": crate::bindings::tollgate::plugin::types },
        pub_export_macro: true,
        export_macro_name: "export_prompts",
        default_bindings_module: "tollgate_plugin::bindings::prompting",
    });
}

/// An optional export, a world of its own.
pub mod reading {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "reading",
        with: { "tollgate:plugin/types@0.1.0": crate::bindings::tollgate::plugin::types },
        pub_export_macro: true,
        export_macro_name: "export_resources",
        default_bindings_module: "tollgate_plugin::bindings::reading",
    });
}

/// An optional export, a world of its own.
pub mod completing {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "completing",
        with: { "tollgate:plugin/types@0.1.0": crate::bindings::tollgate::plugin::types },
        pub_export_macro: true,
        export_macro_name: "export_completion",
        default_bindings_module: "tollgate_plugin::bindings::completing",
    });
}

/// An optional export, a world of its own.
pub mod asking {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "asking",
        pub_export_macro: true,
        export_macro_name: "export_questions",
        default_bindings_module: "tollgate_plugin::bindings::asking",
    });
}

/// An optional export, a world of its own.
pub mod lasting {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "lasting",
        pub_export_macro: true,
        export_macro_name: "export_jobs",
        default_bindings_module: "tollgate_plugin::bindings::lasting",
    });
}
