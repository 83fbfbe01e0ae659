// The kernels as a Python module: names and arguments. What is called is in python/, which checks
// shapes, holds on to tensors and lets go of the interpreter.
//
// All tensors that go in and out of products are float32; what becomes bf16 or bytes is decided by
// the packed weights. Every call releases the GIL while it computes. Headers and not sources, since
// reading torch's own headers is most of the time that building takes.
#include "matrix.h"
#include "peaks.h"
#include "python/decoder_class.h"
#include "python/products.h"
#include "python/sampling_calls.h"

using namespace chatsite;
using namespace chatsite::python;

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  py::class_<Arena, std::shared_ptr<Arena>>(m, "Arena", py::module_local())
      .def(py::init<>())
      .def("bytes", &Arena::bytes, py::arg("size"));
  py::class_<Packed, std::shared_ptr<Packed>>(m, "Packed", py::module_local())
      .def(py::init<const Tensor&, int, const Maybe&, std::shared_ptr<Arena>>(), py::arg("weight"),
           py::arg("format"), py::arg("bias"), py::arg("arena") = nullptr)
      .def(py::init<const Tensor&, int, int64_t, int64_t, const Maybe&>(), py::kw_only(),
           py::arg("data"), py::arg("format"), py::arg("outputs"), py::arg("inputs"),
           py::arg("bias"))
      .def("unpacked", &Packed::unpacked)
      .def_property_readonly("data", &Packed::data)
      .def_property_readonly("bias", &Packed::bias)
      .def_property_readonly("format", [](const Packed& p) { return int(p.weights().format); })
      .def_property_readonly("outputs", [](const Packed& p) { return p.weights().outputs; })
      .def_property_readonly("inputs", [](const Packed& p) { return p.weights().inputs; })
      .def_property_readonly("nbytes", &Packed::bytes);
  m.def("linear", &linear_, py::arg("x"), py::arg("packed"));
  m.def("gated_mlp", &gated_mlp, py::arg("x"), py::arg("gate_up"), py::arg("down"),
        py::arg("gate"));
  m.def("rms_norm", &rms_norm_, py::arg("x"), py::arg("weight"), py::arg("epsilon"));
  m.def("attend", &attend_, py::arg("query"), py::arg("key"), py::arg("value"), py::arg("keys"),
        py::arg("values"), py::arg("page_tokens"), py::arg("positions"), py::arg("slots"),
        py::arg("rows"), py::arg("block_table"), py::arg("scale"), py::arg("window"),
        py::arg("softcap"), py::arg("sinks"));
  py::class_<Decoder>(m, "Decoder", py::module_local())
      .def(py::init<int64_t>(), py::arg("width"))
      .def("add_layer", &Decoder::add_layer, py::kw_only(), py::arg("qkv"), py::arg("out"),
           py::arg("gate_up"), py::arg("down"), py::arg("norms"), py::arg("query_heads"),
           py::arg("kv_heads"), py::arg("dim"), py::arg("gate"), py::arg("residual_scale"),
           py::arg("scale"), py::arg("window"), py::arg("softcap"), py::arg("sinks"))
      .def("set_pages", &Decoder::set_pages, py::arg("index"), py::arg("keys"), py::arg("values"),
           py::arg("page_tokens"))
      .def("set_ends", &Decoder::set_ends, py::arg("embedding"), py::arg("scale"), py::arg("norm"),
           py::arg("epsilon"), py::arg("head"))
      .def("run_layers", &Decoder::run_layers, py::arg("x"), py::arg("positions"), py::arg("slots"),
           py::arg("rows"), py::arg("block_table"), py::arg("tables"), py::arg("rope_of_layer"),
           py::arg("by_position"))
      .def("forward", &Decoder::forward, py::arg("token_ids"), py::arg("positions"),
           py::arg("slots"), py::arg("rows"), py::arg("block_table"), py::arg("logits_at"),
           py::arg("tables"), py::arg("rope_of_layer"), py::arg("hidden"), py::arg("begin"),
           py::arg("end"))
      .def("heads", &Decoder::heads, py::arg("index"))
      .def_property_readonly("size", &Decoder::size);
  m.def("draw", &draw_, py::arg("logits"), py::arg("rules"), py::arg("detailed") = false);
  m.def("describe", &describe_, py::arg("logits"), py::arg("count"));
  m.def("logprobs", &logprobs_, py::arg("logits"), py::arg("tokens"), py::arg("count"));
  m.def("use_matrix", &use_matrix);
  m.def("want_matrix", &want_matrix, py::arg("wanted"));
  m.attr("UNSETTLED") = UNSETTLED;
  m.attr("ISA") = SET;
  // They take up to a fifth of a second, in which heartbeats must go on.
  const auto released = py::call_guard<py::gil_scoped_release>();
  m.def(
      "peak_bf16", [] { return peak_bf16(at::get_num_threads()); }, released);
  m.def(
      "peak_bytes", [] { return peak_bytes(at::get_num_threads()); }, released);
  m.def(
      "peak_matrix_bf16", [] { return peak_matrix_bf16(at::get_num_threads()); }, released);
  m.def(
      "peak_matrix_bytes", [] { return peak_matrix_bytes(at::get_num_threads()); }, released);
  m.def(
      "peak_fp32", [] { return peak_fp32(at::get_num_threads()); }, released);
  m.def(
      "peak_read",
      [](const Tensor& bytes) {
        return peak_read(at::get_num_threads(), bytes.const_data_ptr<uint8_t>(), bytes.numel());
      },
      released);
}
