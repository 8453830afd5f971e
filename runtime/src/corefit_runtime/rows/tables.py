"""Which operator has which rule, by domain; the rules of recurrent operators and of ai.onnx.ml. See `rows.rules`."""

from typing import Final

from corefit_runtime.rows.products import gemm, matmul, qlinear_matmul
from corefit_runtime.rows.rules import (
    along_one_axis,
    arg_reduction,
    batch_normalization,
    blocks,
    convolution,
    cum_sum,
    dropout,
    elementwise,
    first_only,
    gather_elements,
    global_pool,
    grid_sample,
    layer_normalization,
    leading,
    linear_quantization,
    mean_variance_normalization,
    one_hot,
    pool,
    reduction,
    softmax,
    top_k,
    trilu,
    unknown_at,
)
from corefit_runtime.rows.types import Known, MixedError, Op, Result, Rule


def recurrent(op: Op) -> Result:
    """RNN, GRU and LSTM: time on the first axis, rows on the second."""
    x, axis, dims = op.rows()
    if axis != 1 or len(dims) != 3 or op.integer("layout", 0) or not x.exact:
        raise MixedError
    op.fixed_but(0, 4, 5, 6)
    for index, place in ((4, 0), (5, 1), (6, 1)):
        state = op.get(index)
        if state is not None and (state.axis != place or not state.exact):
            raise MixedError
    last = x.with_dims((None, None, None), 1)
    return [x.with_dims((dims[0], None, None, None), 2), last, last]


def table(op: Op) -> Known:
    """ai.onnx.ml: a line of features for each row. Of one axis it would take all for one line."""
    op.fixed_but(0)
    x, axis, dims = op.rows()
    if axis != 0 or len(dims) != 2:
        raise MixedError
    return x.with_dims((dims[0], None))


def same_table(op: Op) -> Result:
    """As `table`, with as many features as before."""
    table(op)
    return op.require(0).with_dims(op.require(0).dims or ())


def classifier(op: Op) -> Result:
    """As `table`: a label for each row, and the scores."""
    found = table(op)
    return [found.with_dims((found.dims or ())[:1]), found]


def feature_vectorizer(op: Op) -> Result:
    """Puts lines together."""
    found = [op.rows(i) for i in range(len(op.inputs))]
    if any(axis != 0 or len(dims) != 2 for _, axis, dims in found):
        raise MixedError
    return found[0][0].with_dims((None, None))


def array_feature_extractor(op: Op) -> Result:
    """Picks from the last axis."""
    op.fixed_but(0)
    x, axis, dims = op.rows()
    if axis != 0 or len(dims) < 2:
        raise MixedError
    return x.with_dims(unknown_at(dims, len(dims) - 1))


def one_hot_encoder(op: Op) -> Result:
    """One more axis at the end: of the categories, where they are few enough to be read."""
    x, _, dims = op.rows()
    categories = [each for name, each in op.attributes.items() if name in {"cats_int64s", "cats_strings"}]
    return x.with_dims((*dims, categories[0].length if len(categories) == 1 else None))


def mixed(_: Op) -> Result:
    """Rows meet, or it is too seldom to be looked into; but what it takes doesn't depend on the elements."""
    raise MixedError


_ELEMENTWISE: Final = """
Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceil Celu Clip Cos
Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less
LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh
Softplus Softsign Sqrt StringConcat Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor RegexFullMatch
"""
_REDUCTIONS: Final = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]
_POOLS: Final = ("AveragePool", "MaxPool", "LpPool")
_GLOBAL_POOLS: Final = ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
_CONVOLUTIONS: Final = ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv")
_LEADING: Final = ("LRN", "InstanceNormalization", "GroupNormalization")
_MIXED: Final = ("Einsum", "EyeLike", "Det", "ReverseSequence", "DynamicQuantizeLinear", "ScatterElements", "ScatterND")
_TABLES: Final = ("TreeEnsembleRegressor", "TreeEnsemble", "LinearRegressor", "SVMRegressor")
_CLASSIFIERS: Final = ("TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier")

STANDARD: Final[dict[str, Rule]] = {
    **dict.fromkeys(_ELEMENTWISE.split(), elementwise),
    **{f"Reduce{name}": reduction for name in _REDUCTIONS},
    **dict.fromkeys(_POOLS, pool),
    **dict.fromkeys(_GLOBAL_POOLS, global_pool),
    **dict.fromkeys(_CONVOLUTIONS, convolution),
    **dict.fromkeys(_LEADING, leading),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), softmax),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), layer_normalization),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), linear_quantization),
    **dict.fromkeys(("ArgMax", "ArgMin"), arg_reduction),
    **dict.fromkeys(("RNN", "GRU", "LSTM"), recurrent),
    **dict.fromkeys(("MatMul", "MatMulInteger"), matmul),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), blocks),
    **dict.fromkeys(_MIXED, mixed),
    "BatchNormalization": batch_normalization,
    "CumSum": cum_sum,
    "Dropout": dropout,
    "GatherElements": gather_elements,
    "Gemm": gemm,
    "GridSample": grid_sample,
    "LpNormalization": along_one_axis,
    "MeanVarianceNormalization": mean_variance_normalization,
    "OneHot": one_hot,
    "QLinearMatMul": qlinear_matmul,
    "TfIdfVectorizer": table,
    "TopK": top_k,
    "Trilu": trilu,
}
"""Rules of the operators of ONNX's default domain, but for those of `rows.shapes`."""
ML: Final[dict[str, Rule]] = {
    **dict.fromkeys(_TABLES, table),
    **dict.fromkeys(_CLASSIFIERS, classifier),
    **dict.fromkeys(("Scaler", "Normalizer", "Imputer"), same_table),
    **dict.fromkeys(("LabelEncoder", "CategoryMapper", "Binarizer"), elementwise),
    "ArrayFeatureExtractor": array_feature_extractor,
    "FeatureVectorizer": feature_vectorizer,
    "OneHotEncoder": one_hot_encoder,
    "ZipMap": mixed,
}
"""Of ai.onnx.ml."""
MICROSOFT: Final[dict[str, Rule]] = {
    **dict.fromkeys(("Gelu", "FastGelu", "BiasGelu", "QuickGelu"), elementwise),
    **dict.fromkeys(("QLinearSigmoid", "QLinearLeakyRelu"), first_only),
}
"""Of com.microsoft, as onnxruntime's quantiser and optimiser write them."""
