"""safetensors: files that hold only tensors, such as timm's on the hub."""

from safetensors.torch import load_file

from gcisg_core.safe_load import READERS

READERS[".safetensors"] = load_file
