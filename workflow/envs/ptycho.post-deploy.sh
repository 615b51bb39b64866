#!/usr/bin/env bash
# Adds the package to an environment of ptycho.yaml: the one that this Snakemake imports (rules/common.smk).
set -euo pipefail
python -m pip install --quiet --no-deps "${PTYCHO_PACKAGE:?the package was installed from an unknown place: install it from a clone or a git repository}"
