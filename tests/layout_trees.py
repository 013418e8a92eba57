"""Small trees of the data sets as they are downloaded; no file in them is media."""

from __future__ import annotations

import json
from pathlib import Path


def write(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def faceforensics(root: Path) -> Path:
    for compression in ("c23", "c40"):
        for stem in ("071", "054", "700", "701"):
            write(root, f"original_sequences/youtube/{compression}/videos/{stem}.mp4")
        for method in ("Deepfakes", "FaceSwap"):
            for stem in ("071_054", "054_071", "700_701"):
                write(root, f"manipulated_sequences/{method}/{compression}/videos/{stem}.mp4")
    write(root, "original_sequences/actors/c23/videos/01__kitchen_pan.mp4")
    write(root, "original_sequences/actors/c23/videos/03__hugging_happy.mp4")
    write(root, "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__kitchen_pan__YVGY8LOK.mp4")
    write(root, "manipulated_sequences/DeepFakeDetection/c23/videos/02_03__hugging_happy__ISF9SP4G.mp4")
    write(root, "manipulated_sequences/Deepfakes/masks/videos/071_054.mp4", "conversion_dict.json")
    for name, pairs in (("train", [["071", "054"]]), ("val", [["700", "701"]]), ("test", [["900", "901"]])):
        write_json(root / "splits" / f"{name}.json", pairs)
    return root


def celebdf(root: Path) -> Path:
    write(root, *(f"Celeb-real/id{i}_000{j}.mp4" for i in (0, 1, 2, 7, 8) for j in (0, 1)))
    write(root, "Celeb-synthesis/id0_id1_0000.mp4", "Celeb-synthesis/id1_id2_0001.mp4")
    write(root, "Celeb-synthesis/id7_id8_0000.mp4", "Celeb-synthesis/id8_id7_0001.mp4", "Celeb-synthesis/odd.mp4")
    write(root, "YouTube-real/00000.mp4", "YouTube-real/00170.mp4", "YouTube-real/notes.txt", "readme.md")
    listed = ["1 YouTube-real/00170.mp4", "1 Celeb-real/id1_0001.mp4", "0 Celeb-synthesis/id1_id2_0001.mp4"]
    (root / "List_of_testing_videos.txt").write_text("\n".join([*listed, "1 Celeb-real/id99_0000.mp4", ""]))
    return root


def dfdc(root: Path) -> Path:
    part = root / "dfdc_train_part_07"
    write(part, "real.mp4", "fake1.mp4", "fake2.mp4", "stray.mp4")
    fake = {"label": "FAKE", "split": "train", "original": "real.mp4"}
    videos = {"real.mp4": {"label": "REAL", "split": "train"}, "fake1.mp4": fake, "fake2.mp4": fake, "gone.mp4": fake}
    write_json(part / "metadata.json", videos)
    write(root, "test/a.mp4", "test/b.mp4", "sample_submission.csv")
    (root / "test" / "labels.csv").write_text("filename,label\na.mp4,1\nb.mp4,0\nc.mp4,0\n")
    return root


def dfdc_preview(root: Path) -> Path:
    table = {
        "original_videos/1/1_A_001.mp4": {"label": "real", "set": "train", "target_id": 1, "swapped_id": None},
        "method_A/1/1_A/2_1_A_001.mp4": {"label": "fake", "set": "train", "target_id": 1, "swapped_id": 2},
        "method_B/2/2_A/3_2_A_001.mp4": {"label": "fake", "set": "train", "target_id": 2, "swapped_id": 3},
        "original_videos/3/3_A_001.mp4": {"label": "real", "set": "test", "target_id": 3, "swapped_id": None},
        "original_videos/9/9_A_001.mp4": {"label": "real", "set": "test", "target_id": 9, "swapped_id": None},
    }
    write_json(root / "dataset.json", table)
    return write(root, *list(table)[:-1], "method_A/unlisted.mp4")


def dffd(root: Path) -> Path:
    write(root, "ffhq/train/1.png", "ffhq/validation/2.png", "ffhq/test/3.png", "stylegan_ffhq/train/1.png")
    return write(root, "faceapp/valid/9.jpg", "Deepfakes/test/5.png", "faceapp/train_mask/9.jpg", "lists.zip")


def faces140k(root: Path) -> Path:
    for split in ("train", "valid", "test"):
        write(root, *(f"real_vs_fake/real-vs-fake/{split}/{label}/{split}1.jpg" for label in ("real", "fake")))
    lines = [",original_path,id,label,label_str,path", "0,/a/1.jpg,1,1,real,train/real/train1.jpg"]
    (root / "train.csv").write_text("\n".join([*lines, "1,/a/2.jpg,2,0,fake,train/fake/gone.jpg", ""]))
    return write(root, "real_vs_fake/real-vs-fake/train/real/about.txt")


def deepfakebench(root: Path) -> Path:
    def listed(folder: str, label: str, *frames: str) -> dict[str, object]:
        return {
            "label": label,
            "frames": [f"D:\\some where\\rgb\\{folder}\\{frame}".replace("/", "\\") for frame in frames],
        }

    real, fake = "FaceForensics++/original_sequences/youtube/c23/frames", "FaceForensics++/manipulated_sequences"
    videos = {f"{real}/071": "FF-real", f"{real}/054": "FF-real", f"{fake}/Deepfakes/c23/frames/071_054": "FF-DF"}
    for folder in videos:
        write(root / "datasets/rgb", f"{folder}/000.png", f"{folder}/010.png")
    write(root, f"datasets/rgb/{real}/054/999.png", "training/train.py")
    of = {Path(folder).name: listed(folder, label, "000.png", "010.png", "020.png") for folder, label in videos.items()}
    gone = listed(f"{real}/111", "FF-real", "000.png")
    ff = {
        "FF-real": {
            "train": {"c23": {"071": of["071"], "054": of["054"]}},
            "test": {"c23": {"111": gone}},
            "val": {"c23": {}},
        },
        "FF-DF": {"train": {"c23": {"071_054": of["071_054"]}}},
    }
    write_json(root / "preprocessing/dataset_json/FF-DF.json", {"FF-DF": ff})
    celeb = {name: f"/else/Celeb-DF-v2/{place}/frames/{name}/1.png" for name, place in (
        ("id0_0000", "Celeb-real"), ("id0_0001", "Celeb-real"), ("id0_id1_0002", "Celeb-synthesis"),
    )}  # fmt: skip
    write(root / "datasets/rgb", *(path[6:] for path in celeb.values()))
    entries = {
        name: {"label": "CelebDFv2_fake" if "_id" in name else "CelebDFv2_real", "frames": [path]}
        for name, path in celeb.items()
    }
    test = {"id0_0001": entries["id0_0001"]}
    real_part = {
        "train": {n: e for n, e in entries.items() if "_id" not in n},
        "val": test | entries["id0_0001"],
        "test": test,
    }
    fake_part = {"train": {"id0_id1_0002": entries["id0_id1_0002"]}, "val": {}, "test": {}}
    content = {"Celeb-DF-v2": {"CelebDFv2_real": real_part, "CelebDFv2_fake": fake_part}}
    write_json(root / "preprocessing/dataset_json/Celeb-DF-v2.json", content)
    return root


MAKERS = {
    "faceforensics": faceforensics, "celebdf": celebdf, "dfdc": dfdc, "dfdc-preview": dfdc_preview, "dffd": dffd,
    "140k": faces140k, "deepfakebench": deepfakebench,
}  # fmt: skip
