"""Encodes a TSV with sentence-transformers in int8, by one of its backends for CPUs.

    python embed_int8.py MODEL collection.tsv out.npy MAX_LENGTH onnx|openvino WORK

The models are made as its documentation says (Speeding up Inference): for onnx dynamic quantization with the instructions
of this processor, for openvino static quantization, whose ranges are measured on texts of the collection itself instead
of those of a dataset from the hub. The time is that of encode alone, as in embed_sentence_transformers.py.
"""

import csv
import json
import os
import shutil
import sys
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
from sentence_transformers import (
    SentenceTransformer,
    export_dynamic_quantized_onnx_model,
    export_static_quantized_openvino_model,
)

folder, source, target, length, backend, work = sys.argv[1:7]
with open(source, encoding="utf-8", newline="\n") as file:
    texts = [line.rstrip("\n").split("\t", 1)[1] for line in file]

made = Path(work) / f"{backend}-{Path(folder).name}"
if not (made / "done").exists():
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(folder, made)
    model = SentenceTransformer(str(made), device="cpu", backend=backend)
    model.max_seq_length = int(length)
    if backend == "onnx":
        flags = Path("/proc/cpuinfo").read_text()
        kind = "avx512_vnni" if "avx512_vnni" in flags else "avx512" if "avx512f" in flags else "avx2"
        export_dynamic_quantized_onnx_model(model, kind, str(made))
    else:
        samples = made / "samples"
        samples.mkdir()
        with open(samples / "train.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([["text"], *[[text] for text in texts[:300]]])
        export_static_quantized_openvino_model(
            model, None, str(made), dataset_name=str(samples), dataset_config_name="default", dataset_split="train", column_name="text"
        )
    (made / "done").touch()

found = [path.name for path in (made / backend).glob("*") if "qint8" in path.name or "quantized" in path.name]
name = next(name for name in found if name.endswith(".onnx" if backend == "onnx" else ".xml"))
model = SentenceTransformer(str(made), device="cpu", backend=backend, model_kwargs={"file_name": f"{backend}/{name}"})
model.max_seq_length = int(length)
model.encode(texts[:32], batch_size=32, show_progress_bar=False)
started = time.perf_counter()
vectors = model.encode(texts, batch_size=32, show_progress_bar=False, convert_to_numpy=True)
seconds = time.perf_counter() - started
np.save(target, vectors.astype(np.float32))
print(json.dumps({"seconds": seconds}))
