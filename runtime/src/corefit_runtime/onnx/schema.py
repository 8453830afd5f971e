"""The messages of onnx.proto: the numbers of their fields, and how each is written.

https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from typing import Final

from corefit_runtime.onnx.wire_format import (
    BYTES,
    DOUBLES,
    FIXED32,
    FLOAT,
    FLOATS,
    INTEGER,
    INTEGERS,
    MANY,
    ONE,
    VARINT,
    Runs,
    Schema,
    run_of,
)

MODEL: Final[Schema] = {
    1: INTEGER,
    **dict.fromkeys((2, 3, 4, 6, 7), ONE),
    5: INTEGER,
    **dict.fromkeys((8, 14, 20, 25), MANY),
}
OPSET: Final[Schema] = {1: ONE, 2: INTEGER}
GRAPH: Final[Schema] = {**dict.fromkeys((2, 10), ONE), **dict.fromkeys((1, 5, 11, 12, 13, 14, 15, 16), MANY)}
VALUE_INFO: Final[Schema] = {**dict.fromkeys((1, 2, 3), ONE), 4: MANY}
NODE: Final[Schema] = {**dict.fromkeys((3, 4, 6, 7, 8), ONE), **dict.fromkeys((1, 2, 5, 9), MANY)}
ATTRIBUTE: Final[Schema] = {
    2: FLOAT,
    **dict.fromkeys((3, 20), INTEGER),
    7: FLOATS,
    8: INTEGERS,
    **dict.fromkeys((1, 4, 5, 6, 13, 14, 21, 22), ONE),
    **dict.fromkeys((9, 10, 11, 15, 23), MANY),
}
TENSOR: Final[Schema] = {
    **dict.fromkeys((1, 5, 7, 11), INTEGERS),
    **dict.fromkeys((2, 14), INTEGER),
    4: FLOATS,
    10: DOUBLES,
    **dict.fromkeys((3, 8, 9, 12), ONE),
    **dict.fromkeys((6, 13, 16), MANY),
}
SPARSE_TENSOR: Final[Schema] = {**dict.fromkeys((1, 2), ONE), 3: INTEGERS}
ENTRY: Final[Schema] = dict.fromkeys((1, 2), ONE)
FUNCTION: Final[Schema] = {**dict.fromkeys((1, 8, 10, 13), ONE), **dict.fromkeys((4, 5, 6, 7, 9, 11, 12, 14), MANY)}
LISTS: Final[Runs] = {7: run_of(7, FIXED32), 8: run_of(8, VARINT), 9: run_of(9, BYTES)}
"""The floats, integers and strings of an attribute."""
LAST_LOCATION: Final = 1
"""The largest TensorProto.DataLocation."""
LAST_DATA_TYPE: Final = 1 << 10
"""More than any TensorProto.DataType."""
LAST_ATTRIBUTE_TYPE: Final = 1 << 6
"""More than any AttributeProto.AttributeType."""
LAST_VERSION: Final = 1 << 16
"""More than the version of any operator set."""
