"""Small ONNX models of every kind, and what `onnx` and onnxruntime say of damaged copies of them.

models FOLDER   writes the models, each as FOLDER/<name>/model.onnx.
schema          prints the messages of ONNX: {message: {number: [name, kind]}}, the kinds those of schema.ts.
judge FOLDER    reads FOLDER/<name>/mutants.bin, damaged copies of the model one after another, each after its length (uint32,
                little-endian). Prints for each model {"load", "runtime"}: a letter for each copy, "." accepted, "p" refused by
                the protobuf parser, "x" refused for another reason.
"""

import json
import os
import struct
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, onnx_ml_pb2
from onnx.external_data_helper import load_external_data_for_model, set_external_data

FLOAT = TensorProto.FLOAT


def value(name, shape=(2,), kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def matrix(name, rows, columns):
    return numpy_helper.from_array(np.arange(rows * columns, dtype=np.float32).reshape(rows, columns), name)


def constant(output, rows, columns):
    return helper.make_node("Constant", [], [output], value=matrix("", rows, columns))


def model(graph, **more):
    fields = dict(opset_imports=[helper.make_opsetid("", 17)], ir_version=9, producer_name="lowrank")
    return helper.make_model(graph, **{**fields, **more})


def plain():
    """Layers as PyTorch exports them, with all that describes a model."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="/m/fc/MatMul", doc_string="first"),
        helper.make_node("Gemm", ["h", "v", "b"], ["y"], name="/m/out/Gemm", transB=1, alpha=0.5),
    ]
    graph = helper.make_graph(
        nodes,
        "plain",
        [value("x", ("batch", 2))],
        [value("y", ("batch", 2))],
        [matrix("w", 2, 3), matrix("v", 2, 3), numpy_helper.from_array(np.zeros(2, np.float32), "b")],
        doc_string="two layers",
        value_info=[value("h", ("batch", 3))],
    )
    made = model(graph, producer_version="1.0", domain="test", model_version=3, doc_string="a test")
    helper.set_model_props(made, {"author": "nobody", "licence": "none"})
    annotation = made.graph.quantization_annotation.add(tensor_name="w")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="b")
    made.graph.node[0].metadata_props.add(key="note", value="n")
    return made


def typed():
    """Numbers in the typed fields, one by one where the type is not packed by default."""
    kinds = [
        ("f", FLOAT, [1.0, 2.0]),
        ("d", TensorProto.DOUBLE, [1.0, 2.0]),
        ("i", TensorProto.INT32, [-1, 300]),
        ("l", TensorProto.INT64, [-1, 2**40]),
        ("u", TensorProto.UINT64, [2**63, 5]),
        ("h", TensorProto.FLOAT16, [1.0, 0.5]),
        ("b", TensorProto.BOOL, [True, False]),
        ("s", TensorProto.STRING, ["one", "two"]),
    ]
    tensors = [helper.make_tensor(name, kind, [2], values) for name, kind, values in kinds]
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name, _, _ in kinds]
    outputs = [value(f"{name}_out", (2,), kind) for name, kind, _ in kinds]
    nodes.append(helper.make_node("Constant", [], ["floats"], value_floats=[1.0, 2.0]))
    nodes.append(helper.make_node("Constant", [], ["strings"], value_strings=["a", "b"]))
    nodes.append(helper.make_node("Transpose", ["t"], ["t_out"], perm=[1, 0]))
    tensors.append(matrix("t", 1, 2))
    return model(helper.make_graph(nodes, "typed", [], [*outputs, value("t_out", (2, 1))], tensors))


def nested():
    """Constants in the branches of an If, and initialisers in the body of a Loop."""
    branches = {
        f"{name}_branch": helper.make_graph(
            [constant(name, 2, 2)], name, [], [value(name, (2, 2))], [matrix(f"{name}_w", 1, 2)]
        )
        for name in ("then", "else")
    }
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("MatMul", ["state", "k"], ["state_out"]),
        ],
        "body",
        [value("i", (), TensorProto.INT64), value("go", (), TensorProto.BOOL), value("state", (2, 2))],
        [value("go_on", (), TensorProto.BOOL), value("state_out", (2, 2))],
        [matrix("k", 2, 2)],
    )
    nodes = [
        helper.make_node("If", ["c"], ["weight"], **branches),
        helper.make_node("Loop", ["n", "c", "weight"], ["y"], body=body),
    ]
    inputs = [value("c", (), TensorProto.BOOL), value("n", (), TensorProto.INT64)]
    return model(helper.make_graph(nodes, "nested", inputs, [value("y", (2, 2))]))


def functions():
    """A function with attributes of its own, called twice."""
    nodes = [
        constant("w", 2, 2),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("LeakyRelu", ["h"], ["y"]),
    ]
    nodes[2].attribute.add(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    function = helper.make_function(
        "own",
        "Layer",
        ["x"],
        ["y"],
        nodes,
        [helper.make_opsetid("", 17)],
        attributes=["slope"],
        attribute_protos=[helper.make_attribute("other", 1)],
        doc_string="a layer",
    )
    calls = [
        helper.make_node("Layer", ["x"], ["h"], domain="own", slope=0.5),
        helper.make_node("Layer", ["h"], ["y"], domain="own", slope=0.25),
    ]
    graph = helper.make_graph(calls, "functions", [value("x", (2, 2))], [value("y", (2, 2))])
    return model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)], functions=[function]
    )


def types():
    """Types that are no tensors, sparse tensors, training, devices."""
    sequence = helper.make_tensor_sequence_value_info("q", FLOAT, [2])
    optional = helper.make_value_info(
        "o", helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, [2]))
    )
    mapped = helper.make_value_info(
        "m", helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(FLOAT, []))
    )
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("sp", FLOAT, [2], [1.0, 2.0]), helper.make_tensor("", TensorProto.INT64, [2], [0, 3]), [2, 2]
    )
    nodes = [
        helper.make_node("SequenceAt", ["q", "zero"], ["y"]),
        helper.make_node("MatMul", ["sp", "w"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "types",
        [sequence, optional, mapped],
        [value("y"), value("z", (2, 2))],
        [matrix("w", 2, 2), numpy_helper.from_array(np.array(0, np.int64), "zero")],
        sparse_initializer=[sparse],
    )
    made = model(graph, ir_version=11)
    training = made.training_info.add()
    training.initialization.CopyFrom(helper.make_graph([constant("w0", 1, 2)], "start", [], [value("w0", (1, 2))]))
    training.update_binding.add(key="w", value="w0")
    made.configuration.add(name="gpu", num_devices=2, device=["a", "b"])
    spec = made.graph.node[1].device_configurations.add(configuration_id="gpu").sharding_spec.add(tensor_name="w")
    spec.device.extend([0, 1])
    spec.sharded_dim.add(axis=0).simple_sharding.add(dim_value=2, num_shards=2)
    return made


def external():
    """Numbers in another file, of an initialiser and of a constant in a branch."""
    made = nested()
    del made.graph.node[1]
    made.graph.output[0].name = "weight"
    del made.graph.input[1]
    made.graph.initializer.append(matrix("w", 2, 2))
    outside = made.graph.node[0].attribute[0].g.node[0].attribute[0].t
    for offset, tensor in enumerate((made.graph.initializer[0], outside)):
        set_external_data(tensor, "data.bin", 16 * offset, 16)
        tensor.ClearField("raw_data")
    return made


MODELS = {made.__name__: made for made in (plain, typed, nested, functions, types, external)}


def make(folder):
    for name, made in MODELS.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "data.bin").write_bytes(np.arange(8, dtype=np.float32).tobytes())
        onnx.save_model(made(), folder / name / "model.onnx")


# As schema.ts calls them, by the number of the type in google.protobuf.FieldDescriptorProto.
KINDS = {1: "fixed64", 2: "fixed32", 3: "varint", 4: "varint", 5: "varint", 9: "bytes", 12: "bytes", 14: "varint"}


def schema():
    messages = {}

    def add(message):
        fields = {}
        for field in message.fields:
            if field.message_type is not None:
                kind = field.message_type.full_name.removeprefix("onnx.")
            else:
                kind = KINDS[field.type]
                if field.is_repeated and kind != "bytes":
                    kind += "s"
            fields[field.number] = [field.name, kind]
        messages[message.full_name.removeprefix("onnx.")] = fields
        for inner in message.nested_types:
            add(inner)

    for message in onnx_ml_pb2.DESCRIPTOR.message_types_by_name.values():
        add(message)
    return messages


def mutants(file):
    content = memoryview(file.read_bytes())
    at = 0
    while at < len(content):
        (length,) = struct.unpack_from("<I", content, at)
        yield bytes(content[at + 4 : at + 4 + length])
        at += 4 + length


def loads(content, folder):
    """What `onnx.load` does with a file that holds this."""
    try:
        loaded = onnx.load_model_from_string(content)
    # Of the parser's own.
    except Exception:
        return "p"
    try:
        load_external_data_for_model(loaded, str(folder))
    # Whatever it stumbles over is its verdict.
    except Exception:
        return "x"
    return "."


def runs(content, folder):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    try:
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        return "p" if "INVALID_PROTOBUF" in str(error) else "x"
    return "."


def runs_apart(contents, folder):
    """As `runs`, for each of a list, in processes of their own: onnxruntime dies of some files."""
    letters = ""
    while len(letters) < len(contents):
        reading, writing = os.pipe()
        if os.fork() == 0:
            # It prints to stdout what it thinks of some models.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            for content in contents[len(letters) :]:
                os.write(writing, runs(content, folder).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as results:
            letters += results.read()
        os.wait()
        if len(letters) < len(contents):
            letters += "x"
    return letters


def judge(folder):
    warnings.filterwarnings("ignore")
    verdicts = {}
    for name in MODELS:
        own = folder / name
        contents = list(mutants(own / "mutants.bin"))
        load = "".join(loads(content, own) for content in contents)
        verdicts[name] = {"load": load, "runtime": runs_apart(contents, own)}
    return verdicts


def main():
    command, *rest = sys.argv[1:]
    if command == "models":
        make(Path(rest[0]))
    else:
        json.dump(schema() if command == "schema" else judge(Path(rest[0])), sys.stdout)


if __name__ == "__main__":
    main()
