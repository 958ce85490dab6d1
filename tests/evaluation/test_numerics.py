"""What a manifest says about the machine that made a score."""

import json

import pytest
import torch

from fewshot_nas.computing import numerics, onednn_isa

EPYC = {"sse4_1": True, "avx2": True, "avx512_bw": True, "avx512_vnni": True, "avx512_bf16": True, "amx_bf16": False}


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        ({}, "AVX512_CORE_BF16"),
        ({"ONEDNN_MAX_CPU_ISA": "DEFAULT"}, "AVX512_CORE_BF16"),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"}, "AVX512_CORE_BF16"),
        ({"ONEDNN_MAX_CPU_ISA": "avx512_core"}, "AVX512_CORE"),
        ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, "AVX2"),
    ],
)
def test_the_environment_bounds_the_instruction_set(allowed, expected):
    assert onednn_isa(EPYC, allowed) == expected


def test_an_old_torch_does_not_tell_the_processor():
    assert onednn_isa({}, {}) == "unknown"


def test_other_settings_are_other_numerics(monkeypatch):
    monkeypatch.delenv("MKL_ENABLE_INSTRUCTIONS", raising=False)
    usual = numerics(torch.device("cpu"))
    assert json.loads(json.dumps(usual)) == usual
    assert (usual["device"], usual["tf32"], usual["torch"]) == ("cpu", False, torch.__version__)
    monkeypatch.setenv("MKL_ENABLE_INSTRUCTIONS", "AVX2")
    torch.set_num_threads(2)
    changed = numerics(torch.device("cpu"))
    assert {key for key in usual if usual[key] != changed[key]} == {"threads", "mkl_instructions"}
