from django.urls import include, path
from rest_framework.routers import DefaultRouter

from taskapp import views

router = DefaultRouter()
router.register("tasks", views.TaskViewSet)
router.register("reversed", views.OtherWayRoundViewSet, basename="reversed")
router.register("countries", views.CountryViewSet)

urlpatterns = [
    path("api/", include(router.urls)),
    path("open/", views.OpenTasks.as_view()),
    path("open-again/", views.OpenTasksAgain.as_view()),
    path("paged/", views.PagedTasks.as_view()),
    path("forbidden/", views.ForbiddenTasks.as_view()),
    path("atomic/", views.AtomicTasks.as_view()),
    path("atomic-postgres/", views.AtomicTasks.as_view(database="postgres")),
    path("non-atomic/", views.NonAtomicTasks.as_view()),
    path("one/<int:pk>/", views.OneTask.as_view()),
    path("undecided/", views.Undecided.as_view()),
    path("meetings/", views.Meetings.as_view()),
    path("people/", views.People.as_view()),
    path("own-people/", views.OwnPeople.as_view()),
    path("said-tasks/", views.SaidTasks.as_view()),
    path("several/", views.SeveralItems.as_view()),
]
