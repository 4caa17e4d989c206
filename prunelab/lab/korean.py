"""The table of claims in Korean, for README.ko.md."""

from collections.abc import Iterable

CLAIMS = {
    "30 % of the weights cost next to nothing": "가중치 30 %는 없애도 거의 손해가 없다",
    "a teacher makes recovery twice as fast": "교사 모델이 있으면 회복이 두 배 빨라진다",
    "rewinding recovers best": "되감기(rewinding)가 가장 잘 회복한다",
    "rewinding is the most stable": "되감기가 가장 안정적이다",
    "a tenth of the rate is right": "학습률은 10분의 1이 알맞다",
    "a cut network is faster at once": "채널을 잘라 낸 네트워크는 바로 빨라진다",
    "permanent zeros outlast training": "영구화한 0은 학습을 계속해도 남는다",
    "five steps beat one": "다섯 번에 나누는 것이 한 번보다 낫다",
    "recalibrate after pruning": "프루닝 뒤에는 BatchNorm 통계를 다시 계산해야 한다",
    "an L1 penalty is better": "L1 정규화가 더 낫다",
    "filters cost more than weights": "필터를 없애면 가중치를 없앨 때보다 손해가 크다",
    "filters make it faster at once": "필터를 없애면 바로 빨라진다",
    "90 % sparsity is recoverable": "희소도 90 %에서도 회복된다",
    "half the filters need careful tuning": "필터 절반을 없애면 세심한 조정이 필요하다",
    "weights want rewinding": "가중치 프루닝에는 되감기가 맞다",
    "filters want a teacher": "필터 프루닝에는 증류(distillation)가 맞다",
    "pruning bit by bit costs less": "조금씩 없애면 손해가 적다",
}
QUANTITIES = {
    "points lost": "잃은 정확도(%p)",
    "time without / with": "걸린 시간, 교사 없이 / 교사와 함께",
    "points over LR rewinding": "학습률 되감기와의 차이(%p)",
    "barrier / that of LR rewinding": "손실 장벽, 학습률 되감기에 대한 비율",
    "barrier over LR rewinding, points": "손실 장벽, 학습률 되감기와의 차이(%p)",
    "points lost to the best rate": "가장 좋은 학습률에 뒤진 정확도(%p)",
    "time before / after": "시간, 자르기 전 / 후",
    "sparsity after one step, %": "한 스텝 뒤의 희소도(%)",
    "points over one-shot, equal cost": "같은 비용으로 한 번에 없앤 것과의 차이(%p)",
    "points gained, untrained": "얻은 정확도(%p), 재학습 전",
    "points gained, fine-tuned": "얻은 정확도(%p), 재학습 후",
    "points over L2, not retrained": "L2와의 차이(%p), 재학습 전",
    "points over L2, 1 epoch retrained": "L2와의 차이(%p), 1에포크 재학습 후",
    "points over L2, 5 epochs retrained": "L2와의 차이(%p), 5에포크 재학습 후",
    "points more, not retrained": "더 잃은 정확도(%p), 재학습 전",
    "time dense / cut": "시간, 원래 / 자른 뒤",
    "points over the last rate": "마지막 학습률과의 차이(%p)",
    "points over a cosine": "코사인 스케줄과의 차이(%p)",
    "points over a cosine, own rate": "코사인 스케줄과의 차이(%p), 각자 고른 학습률",
}
VERDICTS = {
    "holds": "맞다",
    "does not hold": "맞지 않는다",
    "no difference that matters": "의미 있는 차이가 없다",
    "cannot be told": "알 수 없다",
}
SIDES = {"above": "초과", "below": "미만"}


def table_of_claims(summaries: Iterable) -> str:
    """As `readme.table_of_claims`, in Korean.

    Args:
        summaries: what `readme.summaries` gives.

    Raises:
        KeyError: of a claim, a number or a verdict that has no translation here.
    """
    lines = ["| 가이드의 주장 | 맞는가? | 측정값 | 노트북 |", "|---|---|---|---|"]
    for one in summaries:
        verdicts = ", ".join(_times(words, n, one.settings) for words, n in one.verdicts.items())
        side, bound = one.claimed.split()
        words = f"{QUANTITIES[one.quantity]}: {one.range('~')} (주장: {bound} {SIDES[side]})"
        lines.append(f"| {CLAIMS[one.claim]} | {verdicts} | {words} | {one.notebook} |")
    return "\n".join(lines)


def _times(verdict: str, count: int, of: int) -> str:
    words = VERDICTS[verdict]
    return f"**{words}**" if count == of else f"{words} ({of}개 중 {count}개)"
