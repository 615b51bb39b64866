# make study: the demo study.   make report: its report.html.   make test: all tests.
# make check: tests, types, style, lint.   make docs: the site.
# Each builds .venv first; where it is up to date, nothing is installed.
PYTHON ?= python3
CORES ?= $(shell nproc)
CONFIG ?= config/studies/demo.yaml
BIN := .venv/bin

.PHONY: study unlock report test test-long test-slurm test-conda test-extras lock dag check style schema environment test-faults
study: .venv/installed unlock
	$(BIN)/snakemake --cores $(CORES) --configfile $(CONFIG)

# a killed Snakemake leaves a lock: taken off where neither it nor its jobs run in this directory, on this machine
unlock: .venv/installed
	@if ls .snakemake/locks/* >/dev/null 2>&1; then \
	for process in /proc/[0-9]*; do \
	if [ "$$(readlink $$process/cwd)" = "$(CURDIR)" ] && readlink $$process/exe | grep -q python \
	&& tr '\0' ' ' < $$process/cmdline | grep -Eq 'snakemake|/bin/ptycho-[a-z-]+ '; then \
	echo "a Snakemake or one of its jobs runs here (process $${process#/proc/}): the lock stays" >&2; exit 1; fi; done; \
	$(BIN)/snakemake --unlock --cores 1 --configfile $(CONFIG); fi

report: .venv/installed
	$(BIN)/snakemake --cores $(CORES) --configfile $(CONFIG) --report "$$($(BIN)/python -c "import yaml; \
	print(yaml.safe_load(open('$(CONFIG)')).get('output_dir', 'results/study'))")/report.html"

# a file's tests share what they made; the files that take longest are first (tests/conftest.py)
test: .venv/installed
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# with the tests that take minutes each
test-long: export PTYCHO_LONG_TESTS = 1
test-long: test

# a real Slurm of one node must be running: as root on a machine for tests, .ci/start-slurm starts one
test-slurm: .venv/installed
	$(BIN)/pip install --quiet --constraint requirements.lock "snakemake-executor-plugin-slurm==2.8.0"
	PTYCHO_SLURM=1 $(BIN)/pytest tests/workflow/test_slurm.py

# jobs in an environment that Snakemake makes, with a stand-in for conda that installs what the file names, by pip
test-conda: .venv/installed
	PTYCHO_CONDA=1 $(BIN)/pytest tests/workflow/test_deployment.py

# what needs further packages: models as ONNX, logs for TensorBoard, experiments of MLflow
test-extras: .venv/installed
	$(BIN)/pip install --quiet --constraint requirements.lock "onnxruntime>=1.20" "tf2onnx>=1.17" tensorboard "mlflow-skinny>=3.7"
	PTYCHO_EXTRAS=1 $(BIN)/pytest -m extras tests/models tests/commands

# kills, full disks and other faults on a tiny study, each repeated as documented; resumes where it stopped. Two cases
# mount a file system in memory and need root. Writes the table of docs/reliability.md
test-faults: .venv/installed
	nice -n 19 $(BIN)/python benchmarks/faults/run.py --write

dag: .venv/installed
	$(BIN)/snakemake --cores 1 --configfile $(CONFIG) --forceall --rulegraph > .rules.dot
	dot -Tsvg .rules.dot -o docs/images/rulegraph.svg  # Graphviz
	rm .rules.dot

check: style test

style: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check workflow
	$(BIN)/snakemake --lint --configfile config/studies/demo.yaml

# the pinned environment of the jobs for conda; after a change of requirements.lock
environment: .venv/installed
	$(BIN)/python workflow/envs/pinned.py > workflow/envs/ptycho.yaml.new
	mv workflow/envs/ptycho.yaml.new workflow/envs/ptycho.yaml

schema: .venv/installed
	$(BIN)/python -c "import yaml; from ptycho.config.schema import json_schema; \
	print('# Made by make schema from ptycho/config/schema.py, for editors and workflow catalogs.'); \
	print(yaml.safe_dump(json_schema(), sort_keys=False, width=110), end='')" > workflow/schemas/config.schema.yaml

# the documentation as a site in site/; make docs-serve: at http://127.0.0.1:8000, with search
.PHONY: docs docs-serve
docs: .venv/installed
	$(BIN)/pip install --quiet --constraint requirements.lock "mkdocs-material>=9.6,<10"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@if grep -rE '<(script|link|img)[^>]+(src|href)="?(https?:)?//' site --include=*.html; \
	then echo "error: a page loads something from the network" >&2; exit 1; fi

docs-serve: docs
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory site 8000

# the hashes of the packages in requirements.lock, for all machines that each has files for; after a change there
lock:
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --quiet uv
	.venv/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --no-deps --generate-hashes --no-annotate \
	--custom-compile-command "make lock, from requirements.lock" requirements.lock --output-file requirements.txt
	rm -r .venv/lock

.venv/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else \
	"error: $(PYTHON) is Python %d.%d; 3.11 to 3.13 is needed: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-deps --require-hashes --requirement requirements.txt
	@rm -rf ptycho.egg-info  # of an earlier installation: Python would find it before the present one in this folder
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# the readers of files, with damaged files, for FUZZ_SECONDS; what causes a finding is kept in .fuzz/
FUZZ_SECONDS ?= 600
.PHONY: fuzz
fuzz: .venv/installed
	$(BIN)/pip install --quiet --editable ".[fuzz]" \
	|| echo "atheris cannot be installed here: plain mutation instead" >&2
	nice -n 19 $(BIN)/python tests/fuzz/fuzz_readers.py --seconds $(FUZZ_SECONDS)
