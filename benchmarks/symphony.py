"""symphonypy 0.2.4 in an environment of its own (``.venv-bench``), since it needs other versions than the lock has."""

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

MAPPING = """
import sys, warnings
warnings.simplefilter("ignore")
import anndata, numpy as np, scanpy as sc, symphonypy as sp
reference, query, out = sys.argv[1:]
r, q = anndata.read_h5ad(reference), anndata.read_h5ad(query)
for cells in (r, q):
    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
sc.pp.highly_variable_genes(r, n_top_genes=2000, batch_key="lot")
r.raw = r
r = r[:, r.var.highly_variable].copy()
sc.pp.scale(r, max_value=10)
sc.pp.pca(r, n_comps=50, zero_center=False)
sp.pp.harmony_integrate(r, key="lot")
if "lot" not in q.obs:
    q.obs["lot"] = "one"
sp.tl.map_embedding(q, r, key="lot")
sp.tl.transfer_labels_kNN(q, r, ref_labels="label", query_labels="label")
np.savetxt(out, q.obs["label"].astype(str).to_numpy(), fmt="%s")
"""
"""Maps a query file onto a reference file with ``obs`` columns lot and label; writes one label a line."""

SPEED = f"""
import json, time
begin, cpu = time.perf_counter(), time.process_time()
{MAPPING}
status = open("/proc/self/status").read()
peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
print(json.dumps({{"seconds": time.perf_counter() - begin, "cpu": time.process_time() - cpu, "peak": peak}}))
"""
"""The same, and prints what it took: seconds, processor seconds, peak memory in MiB."""


PINS = (
    *("symphonypy==0.2.4", "harmonypy==2.1.0", "scanpy==1.11.5", "anndata==0.12.19"),
    *("numpy==2.4.6", "scipy==1.17.1", "scikit-learn==1.9.1", "pandas==2.3.3"),
)
"""What the figures in docs/mapping.md were measured with."""


def symphony_python() -> Path | None:
    """Return the interpreter of ``.venv-bench``, made and filled if need be; None if that fails."""
    folder = ROOT / ".venv-bench"
    python = folder / "bin" / "python"
    if python.exists():
        imported = subprocess.run([str(python), "-c", "import symphonypy"], check=False, capture_output=True)  # noqa: S603
        if imported.returncode == 0:
            return python
    print("Setting up .venv-bench for symphonypy (once; about a minute) ...", file=sys.stderr, flush=True)
    venv.create(folder, with_pip=True)
    installed = subprocess.run([str(python), "-m", "pip", "install", "-q", *PINS], check=False)  # noqa: S603
    return python if installed.returncode == 0 else None
