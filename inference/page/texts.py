"""The sentences of the page of app.py, in English and in Chinese."""

import re

LANGUAGES = ("en", "zh")
TEXTS = {  # key: English, Chinese
    "title": ("# Action recognition", "# 动作识别"),
    "limits": (
        "A video may have up to {max_mb:g} MB and {max_seconds:g} s. One is answered at a time; others wait.",
        "视频最大 {max_mb:g} MB，最长 {max_seconds:g} 秒。每次只处理一个，其余排队等待。",
    ),
    "not_kept": (
        "What you upload is deleted within {minutes} minutes after an hour, or when the page's program ends.",
        "上传的文件在一小时后的 {minutes} 分钟内删除，程序结束时也会全部删除。",
    ),
    "kept": (
        "**What you upload, and the answer, are kept** on the computer that runs this page.",
        "**您上传的文件和识别结果会保留**在运行本页面的计算机上。",
    ),
    "network": ("Network", "网络"),
    "upload": ("Upload", "上传"),
    "record": ("Record", "录制"),
    "video_file": ("Video file", "视频文件"),
    "recording": ("Record with the camera", "用摄像头录制"),
    "keypoints": ("Skeleton file (.skeleton, .json, .csv, .pkl)", "骨架文件（.skeleton、.json、.csv、.pkl）"),
    "examples": ("Examples", "示例"),
    "run": ("Recognize", "识别"),
    "explain": ("Where it looks", "网络关注的位置"),
    "explain_info": (
        "Draws what speaks for the class; the answer takes longer.",
        "画出支持该类别的部位；识别时间会变长。",
    ),
    "bars": ("Classes", "类别"),
    "segments": ("Over time", "随时间变化"),
    "from": ("from", "开始"),
    "to": ("to", "结束"),
    "class": ("class", "类别"),
    "probability": ("probability", "概率"),
    "files": ("Download", "下载"),
    "answered": (
        "**{best}** {percent:.1f}%  \n{name}: {seconds:.1f} s, {frames} frames",
        "**{best}** {percent:.1f}%  \n{name}：{seconds:.1f} 秒，{frames} 帧",
    ),
    "by_windows": (", scored in {count} windows", "，分 {count} 个时间窗识别"),
    "first_of": (
        "  \nThe file holds {count} recordings; this is the first of them, '{name}'.",
        "  \n该文件含 {count} 段骨架记录，这里是第一段“{name}”。",
    ),
    "refused": ("**No answer for {name}:** {reason}", "**{name} 无法识别：** {reason}"),
    "no_input": ("Give a video first.", "请先选择视频。"),
    "no_keypoints": ("This network reads skeletons; give a skeleton file first.", "该网络识别骨架，请先选择骨架文件。"),
    "too_large": (
        "it has {mb:.1f} MB, up to {max_mb:g} MB are taken here; give a shorter or smaller video.",
        "文件有 {mb:.1f} MB，上限为 {max_mb:g} MB；请换一个更短或更小的视频。",
    ),
    "too_long": (
        "it is {seconds:.0f} s long, up to {max_seconds:g} s are taken here; cut out the part you ask about.",
        "时长 {seconds:.0f} 秒，上限为 {max_seconds:g} 秒；请截取需要识别的部分。",
    ),
}


def translate(key: str, language: str, **values) -> str:
    """Return a sentence of the page in `en` or `zh`, with its values filled in."""
    return TEXTS[key][LANGUAGES.index(language)].format(**values)


def choose_language(setting: str, accepted: str) -> str:
    """Return `en` or `zh`.

    Args:
        setting: of `--language`; `auto` takes the first of the two that the browser asks for.
        accepted: the browser's header Accept-Language, which lists languages, the preferred one first.
    """
    if setting in LANGUAGES:
        return setting
    found = re.findall(r"(?:^|,)\s*(zh|en)\b", accepted.lower())
    return found[0] if found else "en"


class Refusal(ValueError):
    """An upload that the page does not take, with the reason as a key of `TEXTS` and its values."""

    def __init__(self, key: str, **values):
        super().__init__(translate(key, "en", **values))
        self.key, self.values = key, values
