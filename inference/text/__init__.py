"""Text to tokens and back, without torch: templates, vocabularies, detokenising, fitting."""

from inference.text.clean import clean
from inference.text.detokenizer import Detokenizer
from inference.text.fitting import Fitted, PromptTooLong
from inference.text.folders import DEFAULT_SLUG, ModelFolderError, model_folder, models_dir
from inference.text.model import TextModel, load_text
from inference.text.spans import Span, SpanReader
from inference.text.template import BadMessage, Message, TemplateFailed

__all__ = [
    "DEFAULT_SLUG",
    "BadMessage",
    "Detokenizer",
    "Fitted",
    "Message",
    "ModelFolderError",
    "PromptTooLong",
    "Span",
    "SpanReader",
    "TemplateFailed",
    "TextModel",
    "clean",
    "load_text",
    "model_folder",
    "models_dir",
]
