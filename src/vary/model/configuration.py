"""Configurations of the vision vocabulary network and of the whole model."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from transformers import CONFIG_MAPPING, AutoConfig, CLIPVisionConfig, PreTrainedConfig

__all__ = ["VaryConfig", "VisionVocabularyConfig"]

# Fields with which some text models change their logits after the head; Vary's own head would drop them.
HEAD_EXTRAS = (
    "final_logit_softcapping",
    "head_bias",
    "lm_head_bias",
    "lm_head_multiplier",
    "logit_scale",
    "logits_scaling",
    "output_multiplier",
)
# Text models whose head always has a bias; no field says so.
BIASED_HEADS = ("codegen", "ctrl", "gptj", "phi")


class VisionVocabularyConfig(PreTrainedConfig):
    """The vision vocabulary network; the defaults are Vary's own (arXiv 2312.06109), about 95M parameters.

    Attributes:
        image_size: pixels, one number or (height, width); of a variable-width network, the widest image.
        num_channels: 3 for RGB, 1 for gray.
        patch_size: pixels of a patch's side.
        stem: `patch` is one convolution as large as a patch; `conv` a stack of 3x3 convolutions of stride 2
            with batch normalisation, whose last one reaches `hidden_size`.
        stem_channels: widths of the stack before `hidden_size`; `patch_size` must be 2 ** (len + 1).
        hidden_size, num_hidden_layers, num_attention_heads, mlp_ratio: the transformer's.
        window_size: side of an attention window in patches; 0 for global attention everywhere.
        global_attention_layers: the layers that ignore the windows.
        use_absolute_position: learned position embedding over the grid.
        neck_channels: width of the two neck convolutions.
        merge_channels, merge_strides: the 3x3 convolutions that merge patches into image tokens.
        variable_width: images of one height and any width, with a width mask for padded batches; relative
            positions are then true distances in patches, else the table is resized to the grid.
        ctc_frames: frames per patch column that the CTC branch emits; 0 for none.
        ctc_hidden_size: width of a frame; the classifier over frames is the language model's head.
    """

    model_type = "vary_vision_vocabulary"
    base_config_key = "vision_vocabulary_config"

    image_size: int | list[int] | tuple[int, ...] = 1024
    num_channels: int = 3
    patch_size: int = 16
    stem: Literal["patch", "conv"] = "patch"
    stem_channels: list[int] | tuple[int, ...] = ()
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    mlp_ratio: float = 4.0
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-6
    window_size: int = 14
    global_attention_layers: list[int] | tuple[int, ...] = (2, 5, 8, 11)
    use_absolute_position: bool = True
    neck_channels: int = 256
    merge_channels: list[int] | tuple[int, ...] = (512, 1024)
    merge_strides: list[Any] | tuple[Any, ...] = ((2, 2), (2, 2))
    variable_width: bool = False
    ctc_frames: int = 0
    ctc_hidden_size: int | None = None
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is no multiple of {self.num_attention_heads} heads"
            )
        if len(self.merge_channels) != len(self.merge_strides):
            raise ValueError(
                f"{len(self.merge_channels)} merge_channels but {len(self.merge_strides)} merge_strides"
            )
        if self.stem == "conv" and self.patch_size != 2 ** (len(self.stem_channels) + 1):
            raise ValueError(
                f"a conv stem of {len(self.stem_channels)} + 1 stages makes patches of "
                f"{2 ** (len(self.stem_channels) + 1)} pixels, not {self.patch_size}"
            )
        if self.variable_width and (self.window_size or self.use_absolute_position):
            raise ValueError("variable_width needs window_size=0 and use_absolute_position=False")
        if self.variable_width and any(stride[1] != 1 for stride in self.merge_strides):
            raise ValueError(
                "variable_width keeps one image token per patch column: horizontal merge strides must be 1"
            )
        if self.ctc_frames and not self.ctc_hidden_size:
            raise ValueError("ctc_frames needs ctc_hidden_size, the width of the language model")

    @property
    def height(self) -> int:
        return self.image_size if isinstance(self.image_size, int) else self.image_size[0]

    @property
    def width(self) -> int:
        return self.image_size if isinstance(self.image_size, int) else self.image_size[1]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches of the largest image."""
        return self.height // self.patch_size, self.width // self.patch_size

    @property
    def output_channels(self) -> int:
        return self.merge_channels[-1] if self.merge_channels else self.neck_channels

    @property
    def num_image_tokens(self) -> int:
        """Image tokens of the largest image (every image, unless `variable_width`)."""
        rows, columns = self.grid
        for vertical, horizontal in self.merge_strides:
            rows, columns = -(-rows // vertical), -(-columns // horizontal)
        return rows * columns


class VaryConfig(PreTrainedConfig):
    """A model of the Vary family: vision vocabulary, CLIP or none, projector, causal language model.

    What belongs to a checkpoint stands here too: the window it reads, its tasks and its languages.

    Attributes:
        vision_vocabulary_config, text_config: dicts or configurations; the text model is any of AutoModel's
            whose head is a plain matrix.
        clip_config: a `CLIPVisionConfig`, or None for a single branch.
        image_token_id, image_start_token_id, image_end_token_id: `<imgpad>`, `<img>` and `</img>`.
        vision_select_layer: CLIP's hidden state that is used, as an index into `hidden_states`.
        projector_dim: output width of each branch's input embedding layer; all branches together are as wide
            as the language model.
        window: what the model reads at once, `whole` pages or single `lines`.
        tasks, languages: what the checkpoint was trained for; anything else is refused.
        prompts: the exact prompt by task where the checkpoint was trained with another wording than the
            family's; sent as it is, blanks at its ends too, an empty one as no text at all; `{}` in it is
            where the task's subject goes.
        checkpoint_version: which weights these are; documents that were read with them say so.
        line_width: of a model that reads lines, the widest ones in pixels that it was trained on: wider ones
            are split between words. None: as wide as its vision vocabulary network takes.
        confidence: of a model that reads lines, the numbers with which the confidence of a line is made
            (`vary.engine.confidence`); None leaves it the mean over the line's characters.
    """

    model_type = "vary"
    sub_configs: ClassVar[dict[str, Any]] = {
        "vision_vocabulary_config": VisionVocabularyConfig,
        "clip_config": CLIPVisionConfig,
        "text_config": AutoConfig,
    }

    vision_vocabulary_config: Any = None
    clip_config: Any = None
    text_config: Any = None
    image_token_id: int = 151859
    image_start_token_id: int = 151857
    image_end_token_id: int = 151858
    vision_select_layer: int = -2
    projector_dim: int = 1024
    window: Literal["whole", "lines"] = "whole"
    tasks: list[str] | tuple[str, ...] = ("ocr",)
    languages: list[str] | tuple[str, ...] = ("en",)
    prompts: dict[str, str] | None = None
    checkpoint_version: str = ""
    line_width: int | None = None
    confidence: dict[str, float] | None = None
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        if not isinstance(self.vision_vocabulary_config, PreTrainedConfig):
            self.vision_vocabulary_config = VisionVocabularyConfig(**(self.vision_vocabulary_config or {}))
        if isinstance(self.clip_config, dict):
            self.clip_config = CLIPVisionConfig(**self.clip_config)
        if not isinstance(self.text_config, PreTrainedConfig):
            # The library compares a configuration with the default one, so the default has to be whole.
            text = dict(self.text_config or {"hidden_size": self.projector_dim * self.num_branches})
            self.text_config = CONFIG_MAPPING[text.pop("model_type", "qwen2")](**text)
        self.prompts = self.prompts or {}
        super().__post_init__(**kwargs)
        self._check()

    def _check(self) -> None:
        self._check_prompts(self.prompts)
        self._check_line_width()
        text = self.text_config
        if (total := self.projector_dim * self.num_branches) != text.hidden_size:
            raise ValueError(
                f"{self.num_branches} branches of projector_dim {self.projector_dim} make {total} channels, "
                f"but the language model is {text.hidden_size} wide"
            )
        self._check_vision(text.hidden_size)
        self._check_head(text)

    def _check_line_width(self) -> None:
        vision, width = self.vision_vocabulary_config, self.line_width
        if width is not None and not (type(width) is int and vision.height <= width <= vision.width):
            raise ValueError(
                f"line_width is {width!r}, expected pixels from the lines' height {vision.height} to the "
                f"widest image {vision.width}, or None"
            )

    def _check_vision(self, width: int) -> None:
        vision, clip = self.vision_vocabulary_config, self.clip_config
        if vision.ctc_frames and vision.ctc_hidden_size != width:
            raise ValueError(
                f"ctc_hidden_size is {vision.ctc_hidden_size}, but the language model is {width} wide, and "
                "its head classifies the frames; both have to be the same"
            )
        if clip is None:
            return
        states = range(-clip.num_hidden_layers - 1, clip.num_hidden_layers + 1)
        if self.vision_select_layer not in states:
            raise ValueError(f"vision_select_layer={self.vision_select_layer}, but it must lie in {states}")
        patches = (clip.image_size // clip.patch_size) ** 2
        if patches != self.image_seq_length:
            raise ValueError(
                f"CLIP makes {patches} tokens of an image, but the vision vocabulary "
                f"{self.image_seq_length}; both have to make the same number"
            )

    def _check_head(self, text: Any) -> None:
        fields = {name: getattr(text, name, None) for name in HEAD_EXTRAS}
        extras = [f"{k}={v}" for k, v in fields.items() if v is True or v not in (None, False, 1)]
        if text.model_type in BIASED_HEADS:
            extras.append("a bias")
        if (width := getattr(text, "word_embed_proj_dim", text.hidden_size)) != text.hidden_size:
            extras.append(f"word_embed_proj_dim={width} beside hidden_size={text.hidden_size}")
        if extras:
            raise ValueError(
                f"the text model '{text.model_type}' has {', '.join(extras)}: its head is more than a "
                "matrix, and Vary's own head would ignore that; use a text model without it"
            )

    def _check_prompts(self, prompts: Any) -> None:
        if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
            raise ValueError(f"prompts is {prompts!r:.80}, expected an object of task and text")
        if unknown := sorted(set(prompts) - set(self.tasks)):
            raise ValueError(
                f"prompts are given for {', '.join(unknown)}, but the tasks are {', '.join(self.tasks)}"
            )

    @property
    def line_size(self) -> tuple[int, int] | None:
        """Height and greatest width in pixels of the lines that it reads; None if it reads whole pages."""
        vision = self.vision_vocabulary_config
        return (vision.height, self.line_width or vision.width) if self.window == "lines" else None

    @property
    def num_branches(self) -> int:
        return 1 if self.clip_config is None else 2

    @property
    def image_seq_length(self) -> int:
        """Image tokens per image, of the largest one where the width varies."""
        return int(self.vision_vocabulary_config.num_image_tokens)


AutoConfig.register(VaryConfig.model_type, VaryConfig, exist_ok=True)
AutoConfig.register(VisionVocabularyConfig.model_type, VisionVocabularyConfig, exist_ok=True)
