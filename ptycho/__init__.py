"""PtychoPINN generalization study: data, models, evaluation and statistics behind the workflow.

Importing the package is instant; TensorFlow is imported by :mod:`ptycho.models` alone.
"""

__version__ = "0.1.0"
