"""Photometric views of a batch, made on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from gcisg_core.channels import in_rgb
from gcisg_core.config import Settings, require
from gcisg_core.other_view import OtherView
from gcisg_core.regularizers import read_method, settle_views
from gcisg_core.views import PhotometricView


@MODELS.register_module()
class PhotometricSegDataPreProcessor(SegDataPreProcessor):
    """mmseg's preprocessor, which in training first draws photometric views of each image.

    All views share the geometry of the pipeline. They are drawn before normalisation and before padding, so padding
    is mmseg's: the value ``pad_val`` after normalisation (0, the mean colour), the same in all views.

    Args:
        views: Number of views of each image; the segmentor gets a list with that many batches. None: as many as the
            method needs, so that a baseline gets the same colour jitter as a method's task view. 0: training as in
            mmseg.
        photometric: Arguments of :class:`gcisg_core.views.PhotometricView`.
        plain_views: Numbers of the views, from 0, that are not changed. CSG's code trains the task on the plain image
            and compares it with a changed one: ``(0,)``.
        value_range: Lowest and highest value of a loaded image. The views stay within it.
        rgb_to_bgr: As in mmseg. If it is not set, images are taken as BGR, as mmcv's loaders return them.
        **kwargs: Arguments of mmseg's class.

    Images without three channels only vary in brightness and contrast, each channel by itself.

    Raises:
        ValueError: ``views`` or one of ``plain_views`` is negative, or ``views`` is given together with
            ``batch_augments``, which would mix the images of each view differently.
    """

    def __init__(
        self,
        *,
        views: int | None = None,
        photometric: Mapping[str, Any] | None = None,
        plain_views: Sequence[int] = (),
        value_range: tuple[float, float] = (0, 255),
        rgb_to_bgr: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(rgb_to_bgr=rgb_to_bgr, **kwargs)
        require(views is None or views >= 0, "views", views, "at least 0")
        require(views == 0 or not self.batch_augments, "batch_augments", self.batch_augments, "absent with views")
        self.views = 2 if views is None else views
        self.stated_views = views
        require(all(view >= 0 for view in plain_views), "plain_views", plain_views, "numbers of views, from 0")
        self.plain_views = frozenset(plain_views)
        self.view = PhotometricView(**(photometric or {}))
        self.other = OtherView(Settings())
        self.loaded_as_rgb = rgb_to_bgr
        self.lowest, self.highest = value_range
        require(self.lowest < self.highest, "value_range", value_range, "a lowest and a highest value")

    def follow(self, regularizer: Mapping[str, Any] | None) -> None:
        """Draw the views that a method needs, given as for :func:`gcisg_core.regularizers.build_regularizer`.

        Raises:
            ValueError: the config states fewer, or has an ``other_view`` for one of ``plain_views``.
        """
        keys = "model.data_preprocessor.views", "model.regularizer.method"
        self.views = settle_views(self.stated_views, regularizer, *keys)
        settings = read_method(regularizer)[1]
        self.other = OtherView(settings)
        plain = self.plain_views - {settings.task_view}
        require(
            not plain or self.other.own,
            "model.regularizer.other_view",
            settings.other_view,
            f"'same', or absent: model.data_preprocessor.plain_views leaves the views {sorted(plain)} as they are",
        )

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """See `SegDataPreProcessor`; in training ``inputs`` is a list of ``views`` tensors (B, 3, H, W)."""
        if not training or not self.views:
            return super().forward(data, training)
        data = self.cast_data(data)
        images = data["inputs"]
        # mmengine calls this inside autocast, in which the random changes would lose precision.
        with torch.autocast(self.device.type, enabled=False):
            first, *others = self.other.views(
                self.views,
                lambda view: [image if view in self.plain_views else self.draw(image, self.view) for image in images],
                lambda change: [self.draw(image, change) for image in images],
            )
        batch: dict[str, Any] = super().forward({**data, "inputs": first}, training)
        # The labels are padded together with the first view; the other views get empty samples.
        batch["inputs"] = [
            batch["inputs"],
            *(
                super(PhotometricSegDataPreProcessor, self).forward(
                    {"inputs": images, "data_samples": [SegDataSample() for _ in images]}, training
                )["inputs"]
                for images in others
            ),
        ]
        return batch

    def draw(self, image: Tensor, change: PhotometricView) -> Tensor:
        """A photometric draw of an image (C, H, W) of values in ``value_range``, channels as they are loaded; float.

        Raises:
            ValueError: a value lies outside that range, or the change needs colours and the image has none.
        """
        width = self.highest - self.lowest
        if image.dtype != torch.uint8 or (self.lowest, self.highest) != (0, 255):
            found = [value.item() for value in image.aminmax()]
            # Spline interpolation may exceed the range slightly.
            if found[0] < self.lowest - 0.1 * width or found[1] > self.highest + 0.1 * width:
                raise ValueError(
                    f"an image has values from {found[0]:g} to {found[1]:g}, but views are made in the range "
                    f"{self.lowest:g} to {self.highest:g}: set model.data_preprocessor.value_range, or leave the "
                    f"normalisation to the preprocessor"
                )
        values = (image.float() - self.lowest) / width
        if image.shape[0] == 3:
            drawn = in_rgb(change, values.unsqueeze(0), not self.loaded_as_rgb).squeeze(0)
        else:
            require(change.styles is None, "photometric.styles", "given", "None for images that have no colours")
            drawn = change(values.unsqueeze(1)).squeeze(1)  # each band is an image
        return drawn * width + self.lowest
