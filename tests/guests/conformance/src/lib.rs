//! What the protocol's own conformance suite asks of a server: its tools, prompts and resources, by the names that it
//! looks for. Nothing here knows which revision of the protocol a client speaks: that is the host's.

mod asks;
mod content;
mod jobs;
mod offers;
mod says;

use tollgate_plugin::prelude::*;

use asks::{
    test_elicitation, test_elicitation_sep1034_defaults, test_elicitation_sep1330_enums,
    test_input_required_result_capabilities, test_input_required_result_elicitation,
    test_input_required_result_list_roots, test_input_required_result_multi_round,
    test_input_required_result_multiple_inputs, test_input_required_result_request_state,
    test_input_required_result_sampling, test_input_required_result_tampered_state,
    test_missing_capability, test_sampling, test_streaming_elicitation,
};
use content::{
    json_schema_2020_12_tool, test_audio_content, test_custom_header, test_embedded_resource,
    test_error_handling, test_image_content, test_multiple_content_types, test_simple_text,
};
use jobs::{
    confirm_delete, failing_job, greet, multi_input, protocol_error_job, slow_compute,
    test_tool_with_task,
};
use offers::{Fixtures, Words};
use says::{
    test_logging_tool, test_reconnection, test_tool_with_logging, test_tool_with_progress,
    test_trigger_prompt_change, test_trigger_resource_update, test_trigger_tool_change,
};

plugin! {
    summary: "What the protocol's own conformance suite asks of a server.",
    tools: [
        test_simple_text, test_image_content, test_audio_content, test_embedded_resource,
        test_multiple_content_types, test_error_handling, json_schema_2020_12_tool, test_custom_header,
        test_tool_with_logging, test_logging_tool, test_tool_with_progress, test_reconnection,
        test_trigger_tool_change, test_trigger_prompt_change, test_trigger_resource_update,
        test_sampling, test_elicitation, test_elicitation_sep1034_defaults, test_elicitation_sep1330_enums,
        test_missing_capability, test_streaming_elicitation,
        test_input_required_result_elicitation, test_input_required_result_sampling,
        test_input_required_result_list_roots, test_input_required_result_request_state,
        test_input_required_result_multiple_inputs, test_input_required_result_multi_round,
        test_input_required_result_tampered_state, test_input_required_result_capabilities,
        greet, slow_compute, failing_job, protocol_error_job, confirm_delete, multi_input, test_tool_with_task,
    ],
    prompts: Fixtures,
    resources: Fixtures,
    completes: Words,
    asks: [
        asks("test_sampling", Kinds::SAMPLING, "the suite asks for it"),
        asks("test_elicitation", Kinds::FORM, "the suite asks for it"),
        asks("test_elicitation_sep1034_defaults", Kinds::FORM, "the suite asks for it"),
        asks("test_elicitation_sep1330_enums", Kinds::FORM, "the suite asks for it"),
        asks("test_missing_capability", Kinds::SAMPLING, "the suite asks for it"),
        asks("test_streaming_elicitation", Kinds::FORM, "the suite asks for it"),
        asks("test_input_required_result_elicitation", Kinds::FORM, "the suite asks for it"),
        asks("test_input_required_result_sampling", Kinds::SAMPLING, "the suite asks for it"),
        asks("test_input_required_result_list_roots", Kinds::ROOTS, "the suite asks for it"),
        asks("test_input_required_result_request_state", Kinds::FORM, "the suite asks for it"),
        asks("test_input_required_result_multiple_inputs", Kinds::all(), "the suite asks for it"),
        asks("test_input_required_result_multi_round", Kinds::FORM, "the suite asks for it"),
        asks("test_input_required_result_tampered_state", Kinds::FORM, "the suite asks for it"),
        asks("test_input_required_result_capabilities", Kinds::all(), "the suite asks for it"),
        asks("test_input_required_result_prompt", Kinds::FORM, "the suite asks for it"),
        asks("confirm_delete", Kinds::FORM, "the suite asks for it"),
        asks("multi_input", Kinds::FORM, "the suite asks for it"),
        asks("test_tool_with_task", Kinds::FORM, "the suite asks for it"),
    ],
    lasts: [
        lasts("slow_compute"),
        lasts("failing_job").must(),
        lasts("protocol_error_job"),
        lasts("confirm_delete"),
        lasts("multi_input"),
        lasts("test_tool_with_task").must().asks_first(),
    ],
}
