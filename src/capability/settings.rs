//! The `settings` capability: values that the operator gives the plugin.

use crate::grant::Grant;
use crate::reason::{Reason, Refusal};
use crate::runtime::CallState;
use crate::runtime::bindings::settings::Host;
use crate::runtime::bindings::types;
use crate::tape::Function;

impl Host for CallState {
    fn get(&mut self, name: String) -> wasmtime::Result<Result<Option<String>, types::Error>> {
        let asked = self.asks(Function::SettingsGet, |fields, _| {
            fields.text("name", &name)
        });
        if let Some(answer) = asked? {
            return Ok(answer);
        }
        let answer = self.setting(&name);
        self.answers(answer)
    }
}

impl CallState {
    fn setting(&mut self, name: &str) -> wasmtime::Result<Result<Option<String>, types::Error>> {
        let (_, context) = self.parts()?;
        context.count("settings", name.len())?;
        // The operator wrote the value for this plugin: there is nothing further to decide.
        if let Some(Grant::Setting(value)) = context.grant(name).as_deref() {
            let value = value.clone();
            context.charge(value.as_ref().map_or(0, String::len))?;
            return Ok(Ok(value));
        }
        let reference = context.reference("settings", name);
        let refusal = Refusal::new(
            Reason::GrantAbsent,
            "this call was not granted a setting of that name",
        );
        Ok(Err(context.refuse(reference, refusal)?))
    }
}
