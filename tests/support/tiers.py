"""How long tests take: which of them `make test-fast` leaves out, and how many random cases the others take."""

import itertools
import re
from collections.abc import Collection

import pytest

THOROUGH = (
    "browser/",
    "contracts/",
    "end_to_end/",
    "fuzz/",
    "golden/",
    "studies/",
    "explorer/commands/test_check.py",
    "explorer/commands/test_cost.py",
    "explorer/commands/test_cost_of_exports.py",
    "explorer/commands/test_relevance.py",
    "explorer/commands/test_verify.py",
    "explorer/compress/test_apply.py",
    "explorer/compress/test_cluster.py",
    "explorer/compress/test_correction.py",
    "explorer/compress/test_importance.py",
    "explorer/integer/test_lower.py",
    "explorer/packed/test_file.py",
    "explorer/compress/test_problem.py",
    "explorer/compress/test_quantize.py",
    "explorer/compress/test_rounding.py",
    "explorer/compress/test_sparsity.py",
    "explorer/compress/test_static.py",
    "explorer/data/test_load_data.py",
    "explorer/training/test_finetune.py",
    "explorer/evaluate/test_pricing.py",
    "explorer/export/test_deploy.py",
    "explorer/export/c/test_calls.py",
    "explorer/export/tflite/test_costed.py",
    "explorer/export/integer/test_onnx.py",
    "explorer/export/onnx/test_operators.py",
    "explorer/export/onnx/test_qdq.py",
    "explorer/export/onnx/test_styles.py",
    "explorer/graph/test_moves.py",
    "explorer/models/test_reference.py",
    "explorer/referee/",
    "explorer/training/test_train.py",
    "explorer/relevance/test_captum_deeplift.py",
    "explorer/relevance/test_deeplift.py",
    "explorer/relevance/test_hessian_trace.py",
    "explorer/relevance/test_integrated_gradients.py",
    "explorer/relevance/test_lrp.py",
    "explorer/report/front/test_figures.py",
    "explorer/report/front/test_page.py",
    "explorer/search/test_failing_options.py",
    "explorer/relevance/test_completion.py",
    "explorer/search/test_measured.py",
    "explorer/search/test_seeds.py",
    "explorer/comparison/test_run.py",
    "explorer/study/test_outcome.py",
    "explorer/study/test_prepare.py",
    "explorer/study/test_record.py",
    "explorer/study/test_search.py",
    "explorer/study/test_store.py",
    "explorer/test_cli.py",
    "hwmodels/cost/test_cost_properties.py",
    "hwmodels/cost/test_explain.py",
    "hwmodels/test_numpy_only.py",
)
"""Folders and files of tests that take seconds each: trainings, searches, exports, other processes (measured)."""


FEW = re.compile(r"\bfew\b(?=[^\[]*\]$)")
"""Among the parameters at the end of a test's name."""


def thinned(names: str, every: int, *values: Collection[object]) -> pytest.MarkDecorator:
    """Give a test all combinations of the values: one of `every` by default, the others among the slow tests."""
    combinations = list(itertools.product(*values))
    steps = [sum(places) for places in itertools.product(*(range(len(each)) for each in values))]
    params = [
        pytest.param(*each, marks=() if step % every == 0 else pytest.mark.slow)
        for each, step in zip(combinations, steps, strict=True)
    ]
    return pytest.mark.parametrize(names.split(), params)


def cases(few: int, many: int) -> pytest.MarkDecorator:
    """Give a test `count`: `few` by default, `many` among the slow tests."""
    return pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.slow)], ids=["few", "many"])


def find_contained(names: Collection[str]) -> set[str]:
    """Return the tests of few cases that are there with many, too."""
    return {name for name in names if (many := FEW.sub("many", name)) != name and many in names}
