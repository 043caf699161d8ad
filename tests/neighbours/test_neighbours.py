"""Neighbours open our files: pyarrow, DuckDB, faiss, ir_measures, transformers and sentence-transformers.

Run by `make neighbours`, which installs them; BIN is the folder of the binaries, MODEL a starting model, MPNET another
model, and TEXTS a collection.
"""

import csv
import os
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import duckdb
import faiss
import ir_measures
import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import safetensors.torch
import torch
from sentence_transformers import SentenceTransformer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModel, AutoTokenizer

BIN, MODEL = Path(os.environ["BIN"]), Path(os.environ["MODEL"]).resolve()
DATA = Path(__file__).resolve().parent.parent / "fixtures" / "quickstart"
CHROMIUM = shutil.which("chromium")
COLUMNS = {
    "tokens": ["id", "key", "token_ids"],
    "embeddings": ["id", "embedding"],
    "codes": ["id", "code"],
    "qrels": ["query_id", "doc_id", "relevance"],
    "run": ["query_id", "doc_id", "rank", "score"],
    "negatives": ["query_id", "doc_id", "rank", "score"],
    "metrics": ["run", "metric", "query_id", "value"],
    "training-log": ["step", "epoch", "loss", "learning_rate", "gradient_norm", "mrr_10", "recall_10", "queries_per_second", "dev", "mse", "imbalance", "fallbacks"],
}
PIPELINE = """
tokenize --tokenizer $MODEL $DATA/collection.tsv -o docs.tokens.arrow
tokenize --tokenizer $MODEL --kind query $DATA/queries.train.tsv -o train.tokens.arrow
tokenize --tokenizer $MODEL --kind query $DATA/queries.dev.small.tsv -o dev.tokens.parquet
remap-ids --to internal --queries train.tokens.arrow --docs docs.tokens.arrow $DATA/qrels.train.tsv -o qrels.parquet
train inbatch --similarity dot --init $MODEL --queries train.tokens.arrow --docs docs.tokens.arrow --qrels qrels.parquet --steps 4 --batch-size 16 --optimizer adamw --learning-rate 2e-5 --warmup-steps 1 --dev-queries dev.tokens.parquet --dev-qrels $DATA/qrels.dev.small.tsv --tensorboard -o model
embed --model model docs.tokens.arrow -o docs.arrow
embed --model model docs.tokens.arrow --output-type f16 -o docs16.parquet
embed --model model train.tokens.arrow -o train.parquet
index --factory Flat docs.arrow -o docs.faiss
embed --model model --dimensions 256 docs.tokens.arrow -o docs256.arrow
index --factory OPQ8,IVF1,PQ8x8np docs256.arrow -o opq.faiss
index --add-lists 4 opq.faiss -o lists.faiss
index --inspect lists.faiss -o codes.parquet
rank --index docs.arrow --top-k 50 train.parquet -o train.run.parquet
mine-negatives --qrels qrels.parquet --top-k 20 train.run.parquet -o negatives.parquet
embed --model model dev.tokens.parquet -o dev.arrows
embed --model model --dimensions 256 dev.tokens.parquet -o dev256.arrows
rank --index docs.faiss --top-k 20 dev.arrows -o dev.run.arrow
remap-ids --to official --queries dev.tokens.parquet --docs docs.tokens.arrow dev.run.arrow -o dev.trec
score --qrels $DATA/qrels.dev.small.tsv --order score -m MRR,nDCG@10,R@10,MAP,Rprec,Bpref,infAP,SetP,SetF,IPrec@0.1,NumRet --per-query metrics.parquet --format json dev.trec > score.json
mkdir -p results/runs results/metrics
remap-ids --to official --queries dev.tokens.parquet --docs docs.tokens.arrow dev.run.arrow -o results/runs/inbatch-neg.dev.parquet
score --qrels $DATA/qrels.dev.small.tsv -m MRR@10 -m R@10 --per-query results/metrics/inbatch-neg.dev.parquet --format tsv results/runs/inbatch-neg.dev.parquet > results/table.tsv
report results --qrels $DATA/qrels.dev.small.tsv --texts $DATA/collection.tsv --queries $DATA/queries.dev.small.tsv -o report.html
"""


def rows(path):
    """A file of ours through pyarrow."""
    if path.suffix == ".parquet":
        return pq.read_table(path)
    with open(path, "rb") as file:
        return (pa.ipc.open_file if path.suffix == ".arrow" else pa.ipc.open_stream)(file).read_all()


def vectors(path):
    table = rows(path)
    flat = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(table.num_rows, -1)


def texts(path, columns=1):
    return [line.rstrip("\n").split("\t")[columns] for line in open(path, encoding="utf-8")]


class Neighbours(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.at = Path(cls.folder.name)
        environment = dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}", DATA=str(DATA), MODEL=str(MODEL))
        subprocess.run(["bash", "-euo", "pipefail", "-c", PIPELINE], cwd=cls.at, env=environment, check=True)
        cls.files = {
            "tokens": ["docs.tokens.arrow", "dev.tokens.parquet"],
            "embeddings": ["docs.arrow", "docs16.parquet", "dev.arrows"],
            "codes": ["codes.parquet"],
            "qrels": ["qrels.parquet"],
            "run": ["train.run.parquet", "dev.run.arrow"],
            "negatives": ["negatives.parquet"],
            "metrics": ["metrics.parquet"],
            "training-log": ["model/training-log.parquet"],
        }

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_pyarrow_reads_every_record_with_its_provenance(self):
        for kind, names in self.files.items():
            for name in names:
                table = rows(self.at / name)
                self.assertEqual(table.column_names, COLUMNS[kind], name)
                self.assertGreater(table.num_rows, 0, name)
                self.assertEqual(table.schema.metadata[b"hardmine.kind"].decode(), kind, name)

    def test_duckdb_reads_every_record(self):
        for kind, names in self.files.items():
            for name in (name for name in names if name.endswith(".parquet")):
                found = duckdb.sql(f"SELECT * FROM '{self.at / name}'")
                self.assertEqual(found.columns, COLUMNS[kind], name)
                self.assertEqual(len(found.fetchall()), rows(self.at / name).num_rows, name)

    def test_sentence_transformers_gives_the_same_vectors(self):
        model = SentenceTransformer(str(self.at / "model"), device="cpu")
        expected = model.encode(texts(DATA / "collection.tsv"), convert_to_numpy=True)
        np.testing.assert_allclose(vectors(self.at / "docs.arrow"), expected, atol=1e-4)

    def test_transformers_gives_the_same_vectors(self):
        tokenizer, model = AutoTokenizer.from_pretrained(self.at / "model"), AutoModel.from_pretrained(self.at / "model").eval()
        batch = tokenizer(texts(DATA / "collection.tsv")[:64], padding=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        expected = (hidden * mask).sum(1) / mask.sum(1)
        np.testing.assert_allclose(vectors(self.at / "docs.arrow")[:64], expected.numpy(), atol=1e-4)

    def test_tensorboard_shows_the_training_log(self):
        events = EventAccumulator(str(self.at / "model")).Reload()
        log = rows(self.at / "model" / "training-log.parquet")
        start = float(log.schema.metadata[b"hardmine.dev_start"])
        for tag, column in {"train/loss": "loss", "train/learning_rate": "learning_rate", "train/gradient_norm": "gradient_norm", "dev/nDCG@10": "dev"}.items():
            found = [(event.step, event.value) for event in events.Scalars(tag)]
            expected = [(step + 1, value) for step, value in zip(log["step"].to_pylist(), log[column].to_pylist())]
            expected = [(0, start)] + expected if column == "dev" else expected
            np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=tag)

    def test_a_real_mpnet_gives_the_vectors_of_sentence_transformers(self):
        folder, lines = Path(os.environ["MPNET"]), open(os.environ["TEXTS"], encoding="utf-8").readlines()[:1000]
        (self.at / "texts.tsv").write_text("".join(lines), encoding="utf-8")
        started = time.monotonic()
        tokens = subprocess.run([BIN / "tokenize", "-q", "--tokenizer", folder, self.at / "texts.tsv"], stdout=subprocess.PIPE, check=True)
        command = [BIN / "embed", "-q", "--model", folder, "-o", self.at / "mpnet.arrow"]
        subprocess.run(command, input=tokens.stdout, check=True)
        ours = time.monotonic() - started
        model = SentenceTransformer(str(folder), device="cpu")
        started = time.monotonic()
        expected = model.encode([line.rstrip("\n").split("\t")[1] for line in lines], convert_to_numpy=True)
        theirs = time.monotonic() - started
        largest = np.abs(vectors(self.at / "mpnet.arrow") - expected).max()
        print(f"\nall-mpnet-base-v2, {len(lines)} texts: largest difference {largest:.1e}; "
              f"{len(lines) / ours:.0f} texts/s with loading, sentence-transformers {len(lines) / theirs:.0f} without")
        self.assertLess(largest, 1e-4)

    def test_faiss_opens_our_index(self):
        index = faiss.read_index(str(self.at / "docs.faiss"))
        scores, _ = index.search(vectors(self.at / "dev.arrows").astype(np.float32), 20)
        run = rows(self.at / "dev.run.arrow")
        np.testing.assert_allclose(run["score"].to_numpy().reshape(scores.shape), scores, atol=1e-4)

    def rank(self, index, *options):
        """The scores of all documents for every query, (Q, N), by rank."""
        command = [BIN / "rank", "-q", "--index", index, "--top-k", "300", *options, "dev256.arrows", "-o", "all.arrow"]
        subprocess.run(command, cwd=self.at, check=True)
        run = rows(self.at / "all.arrow")
        scores = np.full((len(set(run["query_id"].to_pylist())), 300), np.nan, np.float32)
        scores[run["query_id"].to_numpy(), run["doc_id"].to_numpy()] = run["score"].to_numpy()
        return scores

    def test_faiss_opens_our_index_of_codes(self):
        index = faiss.read_index(str(self.at / "lists.faiss"))
        inner = faiss.downcast_index(faiss.extract_index_ivf(index))
        inner.nprobe = 4
        queries = vectors(self.at / "dev256.arrows").astype(np.float32)
        found, ids = index.search(queries, 300)
        scores = np.take_along_axis(found, ids.argsort(1), 1)
        np.testing.assert_allclose(self.rank("lists.faiss", "--search-parameters", "nprobe=4"), scores, atol=1e-4)
        # The codes of our file, decoded with the centroids that faiss read.
        table = rows(self.at / "codes.parquet")
        codes = np.array([list(code) for code in table["code"].to_pylist()])
        centroids = faiss.vector_to_array(inner.pq.centroids).reshape(8, 256, -1)
        decoded = centroids[np.arange(8)[None], codes].reshape(300, -1)
        rotation = faiss.vector_to_array(faiss.downcast_VectorTransform(index.chain.at(0)).A).reshape(256, 256)
        np.testing.assert_allclose(queries @ rotation.T @ decoded.T, scores, atol=1e-4)

    def test_we_read_what_faiss_writes(self):
        documents, queries = (vectors(self.at / name) for name in ("docs256.arrow", "dev256.arrows"))
        for factory in ("OPQ8,IVF1,PQ8x8np", "OPQ8,PQ8x8np", "IVF1,PQ8x8np", "PQ8x8np", "IVF40,PQ8x8np"):
            index = faiss.index_factory(256, factory, faiss.METRIC_INNER_PRODUCT)
            index.train(documents)
            # With few documents most lists are empty, and faiss writes the sizes of the others only.
            index.add(documents[:10] if "IVF40" in factory else documents)
            faiss.write_index(index, str(self.at / "theirs.faiss"))
            subprocess.run([BIN / "index", "-q", "--inspect", "theirs.faiss", "-o", "theirs.arrow"], cwd=self.at, check=True)
            table = rows(self.at / "theirs.arrow")
            self.assertEqual(table.num_rows, index.ntotal, factory)
            if "IVF40" in factory:
                continue
            found, ids = index.search(queries, 300)
            scores = np.take_along_axis(found, ids.argsort(1), 1)
            np.testing.assert_allclose(self.rank("theirs.faiss"), scores, atol=1e-4, err_msg=factory)

    @unittest.skipUnless(CHROMIUM, "there is no chromium to open the report in")
    def test_chromium_opens_the_report_without_a_complaint(self):
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0", "--dump-dom"]
        done = subprocess.run([*command, f"file://{self.at / 'report.html'}"], capture_output=True, text=True, timeout=120, check=True)
        complaints = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
        self.assertEqual(complaints, [])
        with open(self.at / "results" / "table.tsv", encoding="utf-8") as file:
            values = [float(row["value"]) for row in csv.DictReader(file, delimiter="\t")]
        self.assertEqual(len(values), 2)
        for value in values:
            self.assertIn(f"{value:.4f}", done.stdout)

    def test_ir_measures_agrees_with_score(self):
        qrels = [
            ir_measures.Qrel(query, doc, int(grade))
            for query, _, doc, grade in (line.split() for line in open(DATA / "qrels.dev.small.tsv"))
        ]
        measures = {
            "MRR": ir_measures.RR, "nDCG@10": ir_measures.nDCG @ 10, "R@10": ir_measures.R @ 10, "MAP": ir_measures.AP,
            "Rprec": ir_measures.Rprec, "Bpref": ir_measures.Bpref, "infAP": ir_measures.infAP, "SetP": ir_measures.SetP,
            "SetF": ir_measures.SetF, "IPrec@0.1": ir_measures.IPrec @ 0.1, "NumRet": ir_measures.NumRet,
        }
        run = list(ir_measures.read_trec_run(str(self.at / "dev.trec")))
        expected = ir_measures.calc_aggregate(measures.values(), qrels, run)
        ours = duckdb.sql(f"SELECT metric, value FROM '{self.at / 'metrics.parquet'}' WHERE query_id IS NULL").fetchall()
        self.assertEqual(len(ours), len(measures))
        for name, value in ours:
            self.assertAlmostEqual(value, expected[measures[name]], places=9, msg=name)

    def test_what_torch_saves_is_the_same_model(self):
        start = Path(self.at / "model")
        weights = safetensors.torch.load_file(start / "model.safetensors")
        expected = vectors(self.at / "docs.arrow")
        for name, form in {"zip": True, "old": False}.items():
            for dtype, tolerance in ((torch.float32, 1e-6), (torch.float16, 1e-2), (torch.bfloat16, 1e-1)):
                for prefix in ("", "bert."):
                    folder = self.at / f"{name}-{dtype}-{prefix}"
                    shutil.copytree(start, folder)
                    (folder / "model.safetensors").unlink()
                    state = {prefix + key: tensor.to(dtype) for key, tensor in weights.items()}
                    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=form)
                    command = [BIN / "embed", "-q", "--model", folder, self.at / "docs.tokens.arrow", "-o", folder / "docs.arrow"]
                    subprocess.run(command, check=True)
                    np.testing.assert_allclose(vectors(folder / "docs.arrow"), expected, atol=tolerance, err_msg=folder.name)

    def test_a_pickle_that_names_a_function_is_refused(self):
        folder = self.at / "hostile"
        shutil.copytree(self.at / "model", folder)
        (folder / "model.safetensors").unlink()
        trace = self.at / "executed"

        class Hostile:
            def __reduce__(self):
                return os.system, (f"touch {trace}",)

        torch.save({"embeddings.word_embeddings.weight": Hostile()}, folder / "pytorch_model.bin")
        done = subprocess.run([BIN / "embed", "--model", folder, self.at / "docs.tokens.arrow"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("system", done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertFalse(trace.exists())


if __name__ == "__main__":
    unittest.main()
